"""What a person sees on standard error while the index catches up with many runs."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar  # the type of click.progressbar, which has no public name

    from disttrack.index.progress import Progress

__all__ = ["ProgressLine"]

PLAIN_EVERY_S = 10.0
_STEPS = 1_000


class ProgressLine:
    """A bar on a terminal; else a line now and then, for a log."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._bar: ProgressBar[int] | None = None
        self._next_line_at = -math.inf
        self._sentence = ""

    def show(self, progress: Progress) -> None:
        """Show how far a catch-up has come."""
        if not self._stream.isatty():
            if progress.done or self._clock() >= self._next_line_at:
                self._next_line_at = self._clock() + PLAIN_EVERY_S
                click.echo(f"Indexing: {progress}", file=self._stream)
            return
        self._sentence = str(progress)
        if self._bar is None:
            self._bar = click.progressbar(
                length=_STEPS, label="Indexing", width=20, item_show_func=lambda _: self._sentence, file=self._stream
            )
            self._bar.__enter__()
        self._bar.update(int(_STEPS * progress.fraction) - self._bar.pos)
        if progress.done:
            self.close()

    def close(self) -> None:
        """End the line that the bar is on."""
        if self._bar is not None:
            self._bar.render_finish()
            self._bar = None
