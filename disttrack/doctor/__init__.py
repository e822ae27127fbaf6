"""Examines this process, this node and the job around it, and finds what is wrong before it costs somebody a night.

In: the environment, the directories of disttrack on this node, the answers of its processes. Out: findings, each with
the way to mend it. On failure: a check that cannot be made is a finding itself, and none holds up the others. It
changes nothing: no journal is brought home, no claim taken, no key made. Called by cli.
"""
