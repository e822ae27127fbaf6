"""The versions that meet here, and those that are known not to go together. Nothing is imported for it."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib import metadata

from disttrack.doctor.findings import Finding, Surroundings, failed, good, warning
from disttrack.transport.protocol import PROTOCOL_VERSION
from disttrack.transport.questions import library_versions

__all__ = ["check_versions", "version_of"]

TESTED_TORCH = (2, 13)  # transport.tcpstore: the servers that its client was run against
OLDEST_TORCH = (2, 2)  # its TCPStore knows VALIDATE (pytorch pull request 107607)
OLDEST_LIBZMQ = (4, 3)  # ZAP_ENFORCE_DOMAIN


def version_of(distribution: str) -> str | None:
    """Return the version of an installed distribution; None where there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def check_versions(_around: Surroundings) -> Iterator[Finding]:
    """Tell what is installed, and what does not go together."""
    own = version_of("disttrack")
    pyzmq, libzmq, curve = library_versions()
    names = ("msgspec", "numpy", "torch", "ray")
    others = {name: version for name in names if (version := version_of(name)) is not None}
    shown = ", ".join(f"{name} {version}" for name, version in others.items())
    yield good(
        "versions.installed",
        f"disttrack {own or '(from its sources)'}, protocol {PROTOCOL_VERSION}; Python {platform.python_version()}; "
        f"pyzmq {pyzmq} with libzmq {libzmq}; {shown}",
        disttrack=own,
        protocol=PROTOCOL_VERSION,
        python=platform.python_version(),
        pyzmq=pyzmq,
        libzmq=libzmq,
        curve=curve,
        **others,
    )
    if not curve or _numbers(libzmq) < OLDEST_LIBZMQ:
        lack = "cannot encrypt (no CURVE)" if not curve else "is older than 4.3"
        yield failed(
            "versions.libzmq",
            f"libzmq {libzmq} {lack}: ranks on several nodes cannot become one run",
            "pip install --force-reinstall --only-binary pyzmq pyzmq",
        )
    torch = others.get("torch")
    if torch is not None and _numbers(torch) < OLDEST_TORCH:
        yield warning(
            "versions.torch",
            f"torch {torch}: its TCPStore may not speak what disttrack's client does, so that nodes do not meet there",
            "pip install -U torch, or let the nodes share the directory of the runs (DISTTRACK_DIR)",
        )
    elif torch is not None and _numbers(torch) > TESTED_TORCH:
        newest = ".".join(map(str, TESTED_TORCH))
        yield good(
            "versions.torch", f"torch {torch} is newer than those that meeting in its store was tried with ({newest})"
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
