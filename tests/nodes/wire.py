"""The network between the nodes of a test, and how to make it a bad one.

The frames go through tests/nodes/switch.py, a process of its own: no netem, no firewall, nothing of the host's network.
What a method changes is in effect when it returns.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from tests.nodes.switch import Conditions, Traffic

__all__ = ["Traffic", "Wire"]

SWITCH = Path(__file__).with_name("switch.py")

#: Seconds the switch has to answer a command.
ANSWER_S = 100.0


class Wire:
    """One switch and the wires to its nodes; all whole and fast at first."""

    def __init__(self) -> None:
        self._control, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(ANSWER_S)
        self._conditions = Conditions()
        with far:
            # -S -I: it needs nothing but the standard library, and starts in a third of the time.
            command = [sys.executable, "-S", "-I", str(SWITCH), str(far.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[far.fileno()])

    def close(self) -> None:
        self._control.close()  # it ends by that
        try:
            self._process.wait(ANSWER_S)
        finally:
            self._process.kill()
            self._process.wait()

    def attach(self, node: str, pid: int) -> None:
        """Give the network namespace of a process a device eth0, still down, wired to this switch."""
        self._tell("attach", name=node, pid=pid)

    def detach(self, node: str) -> None:
        """Take a node's device away; its wire is whole again if it comes back."""
        self._tell("detach", name=node)
        self.heal(node)

    def cut(self, node: str) -> None:
        """Let nothing pass, neither from this node nor to it. Nobody is told, as when somebody pulls a cable."""
        self._set(mute=[*self._conditions.mute, node], deaf=[*self._conditions.deaf, node])

    def one_way(self, node: str, passes: Literal["from", "to"]) -> None:
        """Let pass only what comes from this node, or only what goes to it."""
        self.heal(node)
        cut: Literal["mute", "deaf"] = "deaf" if passes == "from" else "mute"
        self._set(**{cut: [*getattr(self._conditions, cut), node]})

    def heal(self, *nodes: str) -> None:
        """Undo cut() and one_way() for these nodes; for all, if none is named."""
        kept = {
            "mute": [name for name in self._conditions.mute if nodes and name not in nodes],
            "deaf": [name for name in self._conditions.deaf if nodes and name not in nodes],
        }
        self._set(**kept)

    def loss(self, fraction: float, seed: int = 0) -> None:
        """Lose this part (0 to 1) of all frames, chosen by chance."""
        self._set(loss=fraction, seed=seed)

    def delay(self, seconds: float) -> None:
        """Let every frame be under way for so long; a round trip takes twice that."""
        self._set(delay_s=seconds)

    def rate(self, bits_per_s: float | None, queue_bytes: int = 65_536) -> None:
        """Let each node receive no faster than this; what finds more than queue_bytes waiting for it, is lost."""
        self._set(rate_bits_per_s=bits_per_s, queue_bytes=queue_bytes)

    def traffic(self) -> dict[str, Traffic]:
        """Return what has gone over the wire of each node since it was attached."""
        return {name: Traffic(**counts) for name, counts in self._tell("traffic").items()}

    def capture(self, path: Path | None) -> None:
        """Write every frame that a node sends to a pcap file, from now on; None ends that, and the file is complete."""
        self._tell("capture", path=None if path is None else str(path))

    def _set(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self._conditions, name, value)
        self._tell("conditions", **asdict(self._conditions))

    def _tell(self, command: str, **arguments: Any) -> Any:
        self._control.send(json.dumps({"do": command, **arguments}).encode())
        answer = self._control.recv(1 << 20)
        assert answer, f"the switch ended when it was told to {command}; its error is on stderr"
        return json.loads(answer)
