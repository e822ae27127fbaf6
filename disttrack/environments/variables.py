"""Variables of a launcher read as a rank: whole and sensible, or not at all."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import NamedTuple

from disttrack.records.types import Rank

__all__ = ["Names", "is_of_group", "master_meeting", "node_count", "number", "place"]

OF_GROUP = "ranks"
MAX_DIGITS = 9  # of a rank: more is no rank, and a string of digits may be as long as it likes


class Names(NamedTuple):
    """How a launcher calls what it tells each rank. source: the launcher, for people.

    besides: what must be there, too, for these variables to mean this launcher.
    """

    source: str
    rank: str
    world_size: str
    local_rank: str = ""
    local_world_size: str = ""
    besides: tuple[str, ...] = ()


def number(text: str | None) -> int | None:
    """Return the number that a variable holds, if it can be a rank or a count of ranks."""
    text = "" if text is None else text.strip()
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= MAX_DIGITS else None


def place(environ: Mapping[str, str], names: Names) -> Rank | None:
    """Return the rank these variables tell of; None where one is missing, no number, or out of its range."""
    if any(name not in environ for name in names.besides):
        return None
    rank, world_size = number(environ.get(names.rank)), number(environ.get(names.world_size))
    if rank is None or world_size is None or not rank < world_size:
        return None
    local_rank = None
    if environ.get(names.local_rank):
        local_rank = number(environ[names.local_rank])
        if local_rank is None or not local_rank < world_size:
            return None
    return Rank(rank=rank, world_size=world_size, local_rank=local_rank, source=names.source)


def node_count(environ: Mapping[str, str], world_size: int, *, local: str = "", nodes: str = "") -> int | None:
    """Return on how many nodes the ranks are; None where nobody says.

    nodes, local: the variables that count the nodes, and this node's ranks.
    """
    said = number(environ.get(nodes))
    if said is not None and 1 <= said <= world_size:
        return said
    here = number(environ.get(local))
    return 1 if here == world_size else None


def master_meeting(environ: Mapping[str, str], nodes: int | None) -> str:
    """Return the store that rank 0's process group opens at MASTER_ADDR as a place to meet; "" where there is none.

    Nobody is there before the group is. Where it never comes, the file of that name in the runs' root is left.
    """
    host, port = environ.get("MASTER_ADDR", "").strip(), number(environ.get("MASTER_PORT"))
    if nodes == 1 or not host or _is_loopback(host) or port is None or not 0 < port < 65536:
        return ""
    return f"tcp://{host}:{port}/{OF_GROUP}"


def is_of_group(meeting: str) -> bool:
    """Say whether a place to meet is a store that opens only once rank 0 makes a process group."""
    return meeting.startswith("tcp://") and meeting.endswith(f"/{OF_GROUP}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
