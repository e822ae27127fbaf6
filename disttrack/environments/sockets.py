"""Where a process of this host listens, read from /proc (Linux; elsewhere nothing is known)."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

__all__ = ["listening"]

_LISTEN = "0A"  # TCP_LISTEN of the kernel's tcp_states.h


def listening(pid: int) -> list[str]:
    """Return host:port of each TCP socket on which a process of this user listens."""
    mine = set(_inodes(pid))
    found: list[str] = []
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and fields[9] in mine:
                found.append(_shown(fields[1], family))
    return sorted(found)


def _inodes(pid: int) -> Iterator[str]:
    """Yield the inode numbers of a process's sockets."""
    try:
        descriptors = list(os.scandir(f"/proc/{pid}/fd"))
    except OSError:
        return
    for descriptor in descriptors:
        try:
            target = os.readlink(descriptor.path)
        except OSError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            yield target[len("socket:[") : -1]


def _shown(address: str, family: socket.AddressFamily) -> str:
    """Return a local address of /proc/net/tcp for people: it has host-order words of the network-order bytes."""
    words, _, port = address.partition(":")
    raw = b"".join(struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8))
    host = socket.inet_ntop(family, raw)
    return f"[{host}]:{int(port, 16)}" if family == socket.AF_INET6 else f"{host}:{int(port, 16)}"
