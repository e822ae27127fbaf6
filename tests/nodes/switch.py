"""An Ethernet switch between nodes of one machine: frames from TAP device to TAP device, and a bad network's faults.

A process of its own (`python switch.py FD`), so that the tests' interpreter never stands in the way of a frame. It
obeys the commands that tests/nodes/wire.py writes to the socket FD, and ends when that socket is closed.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import random
import selectors
import socket
import struct
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO

# linux/if_tun.h, linux/sched.h
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x4004_54CA, 0x0002, 0x1000
CLONE_NEWNET = 0x4000_0000

#: Frames taken from one node before it is the next one's turn.
BATCH = 64

#: Bytes of one frame at most: the devices have no segmentation offload, so none is longer than their MTU.
FRAME_BYTES = 65_536

#: The head of a pcap file of Ethernet frames (RFC draft-ietf-opsawg-pcap): microseconds, 65,536 bytes a frame at most.
PCAP_HEAD = struct.pack("<IHHiIII", 0xA1B2_C3D4, 2, 4, 0, 0, FRAME_BYTES, 1)


@dataclass
class Conditions:
    """How bad the network is."""

    #: Nodes from which, and nodes to which, no frame passes.
    mute: list[str] = field(default_factory=list[str])
    deaf: list[str] = field(default_factory=list[str])
    #: Which part of all frames is lost, 0 to 1, and the seed by which they are chosen.
    loss: float = 0.0
    seed: int = 0
    #: Seconds that each frame is under way.
    delay_s: float = 0.0
    #: What each node can receive, and how much may wait for it before frames are lost; None: as fast as it goes.
    rate_bits_per_s: float | None = None
    queue_bytes: int = 0


@dataclass
class Traffic:
    """What one node put on the wire, what it got from there, and what was lost on the way to it."""

    sent_frames: int = 0
    sent_bytes: int = 0
    received_frames: int = 0
    received_bytes: int = 0
    lost_frames: int = 0


@dataclass(eq=False)
class Port:
    """One node's device."""

    name: str
    fd: int
    traffic: Traffic = field(default_factory=Traffic)
    #: When the last frame that waits for this node will have been handed over, by time.monotonic().
    busy_until: float = 0.0


class Switch:
    """Takes frames and hands them on, under the conditions given, until nobody commands it any more."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._ports: dict[str, Port] = {}
        self._port_of_address: dict[bytes, Port] = {}  # learnt from the frames, as every switch does
        self._conditions = Conditions()
        self._random = random.Random(0)
        self._under_way: list[tuple[float, int, Port, Port, bytes]] = []  # a heap: when due, order of arrival, ...
        self._taken = 0
        self._capture: BinaryIO | None = None

    def run(self) -> None:
        while True:
            wait_s = max(0.0, self._under_way[0][0] - time.monotonic()) if self._under_way else None
            for key, _ in self._selector.select(wait_s):
                if key.data is not None:
                    self._take(key.data)
                elif not self._obey():
                    return
            now = time.monotonic()
            while self._under_way and self._under_way[0][0] <= now:
                _, _, source, target, frame = heapq.heappop(self._under_way)
                self._hand_over(source, target, frame)

    def _take(self, source: Port) -> None:
        """Take what a node has sent, and send it on its way."""
        for _ in range(BATCH):
            try:
                frame = os.read(source.fd, FRAME_BYTES)
            except BlockingIOError:
                return
            source.traffic.sent_frames += 1
            source.traffic.sent_bytes += len(frame)
            if self._capture is not None:
                seconds, nanoseconds = divmod(time.time_ns(), 10**9)
                self._capture.write(struct.pack("<4I", seconds, nanoseconds // 1000, len(frame), len(frame)) + frame)
            self._port_of_address[frame[6:12]] = source
            target = self._port_of_address.get(frame[:6])
            # The first byte's lowest bit: for many. An address nobody has used yet: for all.
            targets = [target] if target and not frame[0] & 1 else [*self._ports.values()]
            for target in targets:
                if target is not source:
                    self._send(source, target, frame)

    def _send(self, source: Port, target: Port, frame: bytes) -> None:
        conditions = self._conditions
        if conditions.loss and self._random.random() < conditions.loss:
            target.traffic.lost_frames += 1
        elif conditions.rate_bits_per_s is None and not conditions.delay_s:
            self._hand_over(source, target, frame)
        else:
            due = now = time.monotonic()
            if conditions.rate_bits_per_s is not None:
                bytes_per_s = conditions.rate_bits_per_s / 8
                if (target.busy_until - now) * bytes_per_s > conditions.queue_bytes:
                    target.traffic.lost_frames += 1
                    return
                due = target.busy_until = max(now, target.busy_until) + len(frame) / bytes_per_s
            self._taken += 1
            heapq.heappush(self._under_way, (due + conditions.delay_s, self._taken, source, target, frame))

    def _hand_over(self, source: Port, target: Port, frame: bytes) -> None:
        """Give a frame to its node, unless the wire is cut by now."""
        if source.name not in self._conditions.mute and target.name not in self._conditions.deaf:
            try:
                os.write(target.fd, frame)
            except OSError:  # its device is not up (yet), or it has gone with its node
                pass
            else:
                target.traffic.received_frames += 1
                target.traffic.received_bytes += len(frame)
                return
        target.traffic.lost_frames += 1

    def _obey(self) -> bool:
        """Carry out one command and answer it; False once the commanding side has gone."""
        message = self._control.recv(1 << 20)
        if not message:
            return False
        command: dict[str, Any] = json.loads(message)
        answer: object = None
        match command.pop("do"):
            case "attach":
                self._attach(**command)
            case "detach":
                self._detach(**command)
            case "conditions":
                self._conditions = Conditions(**command)
                self._random = random.Random(self._conditions.seed)
            case "capture":
                self._capture_to(**command)
            case "traffic":
                answer = {name: asdict(port.traffic) for name, port in self._ports.items()}
            case unknown:
                raise ValueError(f"no such command: {unknown}")
        self._control.send(json.dumps(answer).encode())
        return True

    def _attach(self, name: str, pid: int) -> None:
        """Make the device eth0 in the network namespace of a process, and switch what it sends."""
        with network_of(pid):
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"eth0", IFF_TAP | IFF_NO_PI))
        self._ports[name] = Port(name, fd)
        self._selector.register(fd, selectors.EVENT_READ, self._ports[name])

    def _detach(self, name: str) -> None:
        port = self._ports.pop(name)
        self._selector.unregister(port.fd)
        os.close(port.fd)
        self._port_of_address = {address: to for address, to in self._port_of_address.items() if to is not port}
        self._under_way = [one for one in self._under_way if port not in one[2:4]]
        heapq.heapify(self._under_way)

    def _capture_to(self, path: str | None) -> None:
        if self._capture is not None:
            self._capture.close()
            self._capture = None
        if path is not None:
            self._capture = open(path, "wb")  # noqa: SIM115 - it stays open until the next command
            self._capture.write(PCAP_HEAD)


@contextmanager
def network_of(pid: int) -> Generator[None]:
    """Be in the network namespace of another process."""
    with open("/proc/self/ns/net", "rb") as own, open(f"/proc/{pid}/ns/net", "rb") as other:
        set_namespace(other.fileno())
        try:
            yield
        finally:
            set_namespace(own.fileno())


def set_namespace(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns is new in Python 3.12
    if libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns failed")


if __name__ == "__main__":
    Switch(socket.socket(fileno=int(sys.argv[1]))).run()
