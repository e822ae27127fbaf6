"""What a run keeps by itself while it is open: what its process prints, and facts of it; and what it says of itself."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from disttrack.api.banner import Greeting
from disttrack.api.console import Console
from disttrack.api.facts import FactFinder
from disttrack.api.notebook import cells_of
from disttrack.api.recorder import Recorder
from disttrack.capture.redirect import is_possible
from disttrack.errors import UnsafeDirectory
from disttrack.records.types import Join
from disttrack.settings import Settings

if TYPE_CHECKING:
    from disttrack.api.redirected import RedirectedConsole

__all__ = ["Observers"]

_log = logging.getLogger("disttrack")


class Observers:
    """Those of one run in one process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings  # in force: another way to keep what is printed, where the one asked for cannot be
        self._facts: FactFinder | None = None
        self._console: Console | RedirectedConsole | None = None
        self._greeting: Greeting | None = None

    def begin(self, recorder: Recorder, join: Join, first_line: Callable[[], str | None] | None) -> None:
        """Begin with all that the settings ask for. first_line: of the run, for people; None to say none."""
        if recorder.outbox is None:
            return
        self._facts = FactFinder(recorder, self.settings, join)
        if recorder.sender is not None and first_line is not None:
            self._greeting = Greeting(recorder.sender.welcomed, first_line)
        if self.settings.console == "fd":
            self._redirect(join)
        self.listen(recorder)

    def _redirect(self, join: Join) -> None:
        """Begin to keep what this process prints in whatever way; where that cannot be, listen as without it."""
        if is_possible():
            from disttrack.api.redirected import RedirectedConsole

            try:
                self._console = RedirectedConsole(self.settings, join)
                return
            except (OSError, UnsafeDirectory) as error:
                why = str(error)
        else:
            why = "this system has no sendfile"
        _log.warning("disttrack: console='fd' is not possible here (%s); sys.stdout and sys.stderr are kept", why)
        self.settings = dataclasses.replace(self.settings, console="wrap")

    def listen(self, recorder: Recorder) -> None:
        """Begin to copy what this process prints through sys.stdout and sys.stderr, where that is what is wanted."""
        if recorder.outbox is not None and self.settings.console == "wrap":
            redact, cells = self.settings.redact_secrets, cells_of(sys.modules)
            self._console = Console(recorder.say, redact=redact, cells=cells)

    def finish(self) -> None:
        """Bring what was printed and found out into the journal; each of them waits for a bounded time."""
        if self._console is not None:
            self._console.finish()
        if self._facts is not None:
            self._facts.finish()

    def greet(self) -> None:
        """Say the first line now or never: the last one follows."""
        if self._greeting is not None:
            self._greeting.close()

    def forget(self) -> None:
        """Forget all of it: this is a forked child, and it is its parent's."""
        self._facts = self._console = self._greeting = None
