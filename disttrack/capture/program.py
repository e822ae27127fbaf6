"""What was started: the command line, the program, Python, and the variables around it that matter."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from disttrack.records.secrets import redacted_arguments, redacted_environment, redacted_text

__all__ = ["ENVIRONMENT", "OF_ONE_LAUNCH", "program", "script_of"]

ENVIRONMENT = tuple(
    "CUDA_* NVIDIA_* HIP_* ROCR_* NCCL_* GLOO_* UCX_* FI_* TORCH_* PYTORCH_* TORCHELASTIC_* OMP_* MKL_* OPENBLAS_* "
    "KMP_* XLA_* JAX_* TF_CPP_* TF_GPU_* TF_XLA_* TF_ENABLE_* TF_FORCE_* TRITON_* TOKENIZERS_PARALLELISM "
    "RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE GROUP_RANK NODE_RANK MASTER_ADDR MASTER_PORT "
    "SLURM_JOB_* SLURM_STEP_ID SLURM_PROCID SLURM_LOCALID SLURM_NTASKS SLURM_NNODES SLURM_NODELIST "
    "OMPI_COMM_WORLD_* PMI_RANK PMI_SIZE RAY_JOB_ID HOSTNAME CONDA_DEFAULT_ENV VIRTUAL_ENV "
    "PYTHONHASHSEED PYTHONPATH PYTHONOPTIMIZE LD_PRELOAD LD_LIBRARY_PATH DISTTRACK_*".split()
)
"""The variables that are kept, where they are set: those that change how training computes, or where."""

OF_ONE_LAUNCH = frozenset(
    "MASTER_PORT TORCHELASTIC_RUN_ID TORCHELASTIC_ERROR_FILE SLURM_JOB_ID SLURM_STEP_ID SLURM_JOB_START_TIME "
    "SLURM_JOB_END_TIME RAY_JOB_ID DISTTRACK_PARENT".split()
)
"""Those that tell one launch from the next, and so differ between any two, whatever they train."""

MAX_TEXT = 4096  # characters of one argument or variable
MAX_ARGUMENTS = 1000


def program(
    arguments: Sequence[str], environ: Mapping[str, str], modules: Mapping[str, Any], directory: str, *, redact: bool
) -> dict[str, object]:
    """Return argv, program, python, executable, cwd and environment of a process.

    arguments: its command line after the interpreter. redact: replace what looks like a secret; in the environment it
    always is.
    """
    argv = [argument[:MAX_TEXT] for argument in arguments[:MAX_ARGUMENTS]]
    environment = redacted_environment(environ, ENVIRONMENT)

    def shown(text: str) -> str:
        return redacted_text(text) if redact else text

    return {
        "argv": redacted_arguments(argv) if redact else argv,
        "program": shown(script_of(modules, arguments)),
        "python": ".".join(map(str, sys.version_info[:3])),
        "implementation": sys.implementation.name,
        "executable": shown(sys.executable or ""),
        "cwd": shown(directory),
        "environment": {name: value[:MAX_TEXT] for name, value in sorted(environment.items())},
    }


def script_of(modules: Mapping[str, Any], arguments: Sequence[str]) -> str:
    """Return the main program: a script's path, `-m` and a module, `<notebook>`, or `<python>` where it is neither."""
    if _is_notebook(modules):
        return "<notebook>"
    main = modules.get("__main__")
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None and isinstance(getattr(spec, "name", None), str) and spec.name != "__main__":
        return f"-m {spec.name.removesuffix('.__main__')}"
    if isinstance(file, str):
        return str(Path(file).absolute())
    return "<python>" if not arguments else arguments[0] or "<python>"


def _is_notebook(modules: Mapping[str, Any]) -> bool:
    ipython = modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return shell is not None and hasattr(shell, "kernel")
