"""run.watch: histograms of a model's gradients and parameters, every so many optimizer steps, in the row logged next.

Everything is read where an optimizer is about to step, by the hook that torch has for that: nothing is attached to
the user's modules or tensors, so that models can be compiled, copied and pickled as before, and a step that is not due
costs one count. The gradients are those that are about to be applied: of all micro-batches, averaged over ranks by
DDP, without AMP's scale, after clipping. Of a sharded model (FSDP), each rank sees its shard.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from disttrack.api.run import Run
from disttrack.integrations.tensors import TensorHistogram, dense

__all__ = ["unwatch", "watch"]

LOGS = ("gradients", "parameters", "all", None)
WRAPPERS = ("torch._dynamo.", "torch.nn.parallel.", "torch.distributed.")  # where torch's wrappers of models are from
WITHIN = "_fsdp_wrapped_module."

_log = logging.getLogger("disttrack")
_watches: weakref.WeakKeyDictionary[Run, _Watches] = weakref.WeakKeyDictionary()


def watch(run: Run, models: Any, log: str | None, log_freq: Any, idx: int | None) -> None:
    """Watch models; see Run.watch. Raises TypeError and ValueError for what cannot be watched."""
    if log not in LOGS:
        raise ValueError(f"log={log!r} is none of 'gradients', 'parameters', 'all' and None")
    if isinstance(log_freq, bool) or not isinstance(log_freq, int) or log_freq < 1:
        raise ValueError(f"log_freq={log_freq!r} is no whole number of 1 or more")
    found = _modules(models)
    if log is None:
        return
    watches = _watches.get(run)
    if watches is None:
        watches = _watches[run] = _Watches(run)
    watches.add(found, log, log_freq, idx)


def unwatch(run: Run, models: Any) -> None:
    """Watch these models, or all of them, no more; see Run.unwatch."""
    watches = _watches.get(run)
    if watches is not None:
        watches.remove(None if models is None else _modules(models))


def _modules(models: Any) -> list[torch.nn.Module]:
    given: list[Any] = list(cast("Sequence[Any]", models)) if isinstance(models, list | tuple | set) else [models]
    for model in given:
        if not isinstance(model, torch.nn.Module):
            raise TypeError(f"a {type(model).__module__}.{type(model).__qualname__} is no torch.nn.Module")
    return cast("list[torch.nn.Module]", given)


class _Watched:
    """One model, by a weak reference: watching keeps nobody's memory."""

    def __init__(self, model: torch.nn.Module, log: str, every: int, prefix: str) -> None:
        self.model = weakref.ref(model)
        self.gradients, self.parameters = log != "parameters", log != "gradients"
        self.every = every
        self.prefix = prefix
        self.steps: weakref.WeakKeyDictionary[Optimizer, int] = weakref.WeakKeyDictionary()

    def due(self, optimizer: Optimizer) -> bool:
        steps = self.steps[optimizer] = self.steps.get(optimizer, 0) + 1
        return steps % self.every == 0


class _Watches:
    """All that one run watches."""

    def __init__(self, run: Run) -> None:
        self._run = weakref.ref(run)
        self._watched: list[_Watched] = []
        self._ordinal = 0
        self._handle: RemovableHandle | None = None
        run.at_finish(self._stop)

    def add(self, models: Sequence[torch.nn.Module], log: str, every: int, idx: int | None) -> None:
        for offset, model in enumerate(models):
            ordinal = self._ordinal if idx is None else idx + offset
            self._ordinal = max(self._ordinal, ordinal) + 1
            if any(watched.model() is model for watched in self._watched):
                raise ValueError("this model is watched already; call unwatch(model) first")
            self._watched.append(_Watched(model, log, every, f"graph_{ordinal}." if ordinal else ""))
        if self._watched and self._handle is None:
            self._handle = register_optimizer_step_pre_hook(self._step)

    def remove(self, models: Sequence[torch.nn.Module] | None) -> None:
        self._watched = [
            watched
            for watched in self._watched
            if models is not None and not any(watched.model() is model for model in models)
        ]
        if not self._watched:
            self._stop()

    def _stop(self) -> None:
        self._watched, self._ordinal = [], 0
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        try:
            run = self._run()
            if run is None or not run.is_ours():  # a forked child's training is not what was watched
                return
            for watched in self._watched:
                if watched.due(optimizer):
                    self._take(run, watched, optimizer)
        except Exception as error:  # out of memory, a deleted tensor: training goes on, unwatched
            self._stop()
            _log.warning("disttrack: watch() ended: %s: %s", type(error).__name__, error)

    def _take(self, run: Run, watched: _Watched, optimizer: Optimizer) -> None:
        model = watched.model()
        if model is None:
            return
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        scale = getattr(optimizer, "grad_scale", None)  # set by GradScaler for optimizers that divide by it themselves
        for name, parameter in _parameters(model):
            if id(parameter) not in held:
                continue
            gradient = dense(parameter.grad) if watched.gradients else None
            if gradient is not None:
                run.waiting[f"gradients/{watched.prefix}{name}"] = TensorHistogram(gradient, scale)
            values = dense(parameter) if watched.parameters else None
            if values is not None:
                run.waiting[f"parameters/{watched.prefix}{name}"] = TensorHistogram(values)


def _parameters(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Yield parameters by the names that they have in the user's own model, whatever torch wrapped around it."""
    while type(model).__module__.startswith(WRAPPERS):
        inner = getattr(model, "_orig_mod", None) or getattr(model, "module", None)
        if not isinstance(inner, torch.nn.Module):
            break
        model = inner
    for name, parameter in model.named_parameters():
        yield name.replace(WITHIN, ""), parameter
