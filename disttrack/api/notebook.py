"""The notebook that this process serves: which of its cells runs (a run as a card: integrations/notebook.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Cells", "cells_of"]


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
