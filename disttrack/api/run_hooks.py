"""Run's side of hooks into frameworks: what they have to log with the next row, and to do before the run ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

from disttrack.api.hooks import hook
from disttrack.api.identity import RunIdentity
from disttrack.api.recorder import Recorder
from disttrack.records.types import Join
from disttrack.settings import Settings

__all__ = ["RunHooks"]

_log = logging.getLogger("disttrack")


class RunHooks(RunIdentity):
    """What Run has for hooks."""

    def __init__(self, settings: Settings, join: Join, recorder: Recorder | None, *, enabled: bool) -> None:
        super().__init__(settings, join, recorder, enabled=enabled)
        self.waiting: dict[str, Any] = {}  # values that hooks have for the row that is logged next
        self._before_end: list[Callable[[], None]] = []

    def _joined(self, data: Any) -> Any:
        """Return a row with the values that wait for one; what is no row stays as it is."""
        if not isinstance(data, Mapping):
            return data
        joined: dict[Any, Any] = {}
        while self.waiting:
            try:
                key, value = self.waiting.popitem()
            except KeyError:  # another thread's row took it
                break
            joined[key] = value
        joined.update(cast("Mapping[Any, Any]", data))
        return joined

    def watch(
        self,
        models: Any,
        criterion: Any = None,
        log: Literal["gradients", "parameters", "all"] | None = "gradients",
        log_freq: int = 1000,
        idx: int | None = None,
        log_graph: bool = False,
    ) -> None:
        """Log histograms of torch models, every log_freq steps of their optimizer, with the row that is logged next.

        models: one torch.nn.Module or several. log: which histograms, `gradients/<parameter>` and
        `parameters/<parameter>`: as they are when the optimizer is about to step. idx: the number of the first model;
        names of models but number 0 begin with `graph_<number>.`. criterion and log_graph are taken as in wandb; graphs
        are not kept, which is said. Nothing is attached to the models. Never raises: what cannot be watched is said.
        """
        if log_graph:
            _log.warning("disttrack: watch(log_graph=True): graphs are not kept; the histograms are")
        try:
            if self._enabled and self.is_ours():
                hook("watch").watch(self, models, log, log_freq, idx)
        except Exception as error:  # torch is not installed, or these are no models
            _log.warning("disttrack: watch() has no effect: %s: %s", type(error).__name__, error)

    def unwatch(self, models: Any = None) -> None:
        """Watch these models no more; None: all of them."""
        try:
            if self._enabled and self.is_ours():
                hook("watch").unwatch(self, models)
        except Exception as error:
            _log.warning("disttrack: unwatch() has no effect: %s: %s", type(error).__name__, error)

    def at_finish(self, call: Callable[[], None]) -> None:
        """Call when the run is finished, while rows and files are still taken; what it raises is said."""
        self._before_end.append(call)

    def _finish_hooks(self, recorder: Recorder) -> None:
        while self._before_end:
            try:
                self._before_end.pop(0)()
            except Exception as error:  # of another library
                _log.warning("disttrack: a hook could not be finished: %s: %s", type(error).__name__, error)
        if self.waiting:
            recorder.row(self._joined({}), None, False)
