"""A run within a notebook: which cell runs, and the run as a card below one."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Cells", "card", "cells_of"]

MAX_KEYS = 20
_STYLE = "border:1px solid #8884;border-radius:4px;padding:8px 12px;display:inline-block;font:14px/20px system-ui"


class Cells:
    """The cells of the notebook that this process serves."""

    def __init__(self, shell: Any) -> None:
        """shell: IPython's."""
        self._shell = shell

    def number(self) -> int | None:
        """Return the number of the cell that runs now, as the notebook shows it, whenever IPython counts on."""
        return len(self._shell.history_manager.input_hist_parsed) - 1

    def before_each(self, call: Callable[..., object]) -> None:
        """Have something called before each cell from the next one on."""
        self._shell.events.register("pre_run_cell", call)

    def no_more(self, call: Callable[..., object]) -> None:
        """Have it called no more."""
        if call in self._shell.events.callbacks["pre_run_cell"]:
            self._shell.events.unregister("pre_run_cell", call)


def cells_of(modules: Mapping[str, Any]) -> Cells | None:
    """Return the cells of the notebook that this process serves; None where it serves none."""
    ipython = modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return Cells(shell) if shell is not None and hasattr(shell, "kernel") else None


def card(title: str, where: str, facts: Mapping[str, object], values: Mapping[str, object]) -> str:
    """Return a small, inert piece of HTML: no script, no link, nothing fetched; all text escaped.

    facts: shown in one line; values: a table of the first MAX_KEYS of them.
    """

    def shown(value: object) -> str:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        return html.escape(text if len(text) <= 80 else f"{text[:79]}…")

    line = " · ".join(f"{html.escape(name)} {shown(value)}" for name, value in facts.items())
    rows = "".join(
        f"<tr><td style='text-align:left'>{html.escape(str(key)[:80])}</td><td>{shown(value)}</td></tr>"
        for key, value in list(values.items())[:MAX_KEYS]
    )
    more = f"<div>and {len(values) - MAX_KEYS} more</div>" if len(values) > MAX_KEYS else ""
    table = f"<table>{rows}</table>{more}" if rows else ""
    head = f"<b>{html.escape(title)}</b> <code>{html.escape(where)}</code>"
    return f"<div style='{_STYLE}'>{head}<div>{line}</div>{table}</div>"
