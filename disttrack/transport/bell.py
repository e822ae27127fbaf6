"""How other threads reach a rank's sender: it is woken, told to hurry, told to stop."""

from __future__ import annotations

import select
import socket

__all__ = ["Bell"]


class Bell:
    """Wakes one thread from its sleep, at any time and from any other thread or a signal handler."""

    def __init__(self) -> None:
        self.hurried = False  # somebody waits for the sender: it is not to wait for anybody else
        self.stopped = False
        self._ring, self._push = socket.socketpair()
        self._ring.setblocking(False)
        self._push.setblocking(False)
        self._poll = select.poll()  # not select(): it cannot watch descriptors beyond 1,023
        self._poll.register(self._ring, select.POLLIN)

    # Called by other threads.

    def hurry(self) -> None:
        """Wake the thread, which waits for nobody from now on."""
        self.hurried = True
        self._wake()

    def stop(self) -> None:
        """Wake the thread, which ends."""
        self.stopped = True
        self._wake()

    def _wake(self) -> None:
        try:
            self._push.send(b"!")
        except OSError:
            pass  # full, so the thread is awake; or closed, so it has ended

    # The thread.

    def fileno(self) -> int:
        """Return the descriptor that can be read once it rings, for whoever waits for something else, too."""
        return self._ring.fileno()

    def sleep(self, seconds: float) -> bool:
        """Sleep, but not if it rings; say whether it did."""
        if not self._poll.poll(int(1000 * seconds)):
            return False
        self.heard()
        return True

    def heard(self) -> None:
        """Let it ring no more."""
        try:
            self._ring.recv(4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Wake nobody any more."""
        self._ring.close()
        self._push.close()
