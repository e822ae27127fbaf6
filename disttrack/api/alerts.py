"""Alerts as the script gives them: checked, and not more of one title than a person would read."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from disttrack.records.payloads import Alert, AlertLevel
from disttrack.records.secrets import redacted_text
from disttrack.records.values import text

__all__ = ["Alerts"]

WAIT_S = 60.0  # between two alerts of one title (the original's default)
MAX_TITLE = 500  # characters
MAX_TEXT = 50_000
MAX_TITLES = 1_000  # remembered

_log = logging.getLogger("disttrack")


class Alerts:
    """Decides which alerts of a rank are stored. What is wrong with one is told, and costs it nothing else."""

    def __init__(self, complain: Callable[[str], None], *, redact: bool) -> None:
        self._complain = complain
        self._redact = redact
        self._told: dict[str, tuple[float, int]] = {}  # by title: when last, how many were left out since

    def admitted(self, title: Any, body: Any, level: Any, wait_duration: Any) -> Alert | None:
        """Return an alert as it is stored; None where one of its title was stored a moment ago."""
        wanted, wait_s = self._level(level), self._wait_s(wait_duration)
        title, body = self._text(title, MAX_TITLE), self._text(body, MAX_TEXT)
        now = time.monotonic()
        told_at, left_out = self._told.get(title, (-math.inf, 0))
        if now - told_at < wait_s:
            self._told[title] = told_at, left_out + 1
            if not left_out:
                _log.warning("disttrack: alerts titled %r come within %g s: those between are counted", title, wait_s)
            return None
        if len(self._told) >= MAX_TITLES:
            self._told.clear()
        self._told[title] = now, 0
        if left_out:
            body = f"{body}\n({left_out:,} more of this title since the one before)".lstrip()
        return Alert(title=title, text=body, level=wanted, time_us=time.time_ns() // 1000)

    def _text(self, value: Any, length: int) -> str:
        try:
            found = text(value if isinstance(value, str) else str(value))[:length]
        except Exception:  # its __str__ raises
            found = f"<{type(value).__name__}>"
        return redacted_text(found) if self._redact else found

    def _level(self, level: Any) -> AlertLevel:
        if level is None:
            return AlertLevel.INFO
        try:
            return AlertLevel(str(level).upper())
        except Exception:
            self._complain(f"an alert's level must be one of {', '.join(AlertLevel)}; another is kept as WARN")
            return AlertLevel.WARN

    def _wait_s(self, wait: Any) -> float:
        if wait is None:
            return WAIT_S
        try:
            return float(wait.total_seconds() if isinstance(wait, timedelta) else wait)
        except Exception:
            self._complain(f"an alert's wait_duration must be seconds or a timedelta; instead {WAIT_S:g} s are waited")
            return WAIT_S
