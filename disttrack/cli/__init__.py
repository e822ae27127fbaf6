"""The command line: parse, call a lower floor, print.

In: arguments, the environment and a root of runs. Out: text for people, strict JSON for machines
(--json), and an exit code (docs/cli.md). On failure: what happened, why and how to mend it, on
standard error, without a traceback. Nobody imports this room but the console script and
`python -m disttrack`.
"""

from disttrack.cli.program import main

__all__ = ["main"]
