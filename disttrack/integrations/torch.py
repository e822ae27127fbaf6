"""Watches a training loop through torch's own hooks: step time, loss, learning rate, gradient norm, throughput.

Steps are those of the first optimizer that steps, counted from 1 (after what the run had before). At a step that is not
due one number is counted, and nothing is asked of a device; hooks of modules are there during due steps only, so that
torch calls its modules the short way in all others.

Rows have the keys magic/step_time_s (seconds from step to step, the mean since the last row), magic/loss (the scalar
that a module returned last, of those whose backward ran), magic/lr (magic/lr_0, ... where parameter groups have
different ones), magic/grad_norm (the 2-norm of all gradients about to be applied, without AMP's scale; of a sharded
model this rank's part), magic/samples_per_s (first dimensions of the model's inputs in the step). What further
optimizers have is named magic/optimizer_1/lr and so on.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.hooks import RemovableHandle

from disttrack.api.recorder import OtherStep
from disttrack.api.run import Run
from disttrack.integrations.magic import Wanted
from disttrack.integrations.tensors import total_norm

__all__ = ["record"]

_log = logging.getLogger("disttrack")


def record(run: Run, wanted: Wanted) -> None:
    """Record the training loops of this process into the run, until it is finished."""
    if run.is_ours():
        run.at_finish(_Loop(run, wanted).stop)


class _Loop:
    """The loop of one process."""

    def __init__(self, run: Run, wanted: Wanted) -> None:
        self._run, self._wanted = run, wanted
        self._first_step = run.step
        self._optimizers: weakref.WeakKeyDictionary[Optimizer, int] = weakref.WeakKeyDictionary()
        self._main: weakref.ref[Optimizer] | None = None
        self._steps = 0
        self._logged = (0, 0.0)  # the step of the last row, and when it was
        self._values: dict[str, Any] = {}
        self._forward: _Forward | None = None
        self._handles = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        self._look()

    def stop(self) -> None:
        """Take all hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._forward is not None:
            self._forward.stop()
            self._forward = None

    def _look(self) -> None:
        """Look at the modules if the next step is due."""
        if self._forward is not None:
            self._forward.stop()
            self._forward = None
        if (self._wanted.loss or self._wanted.throughput) and self._wanted.due(self._steps + 1):
            self._forward = _Forward(self._give_up)

    def _give_up(self, error: Exception) -> None:
        """End here: a tracker does not disturb what it tracks."""
        self.stop()
        _log.warning("disttrack: magic ended: %s: %s", type(error).__name__, error)

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not self._wanted.due(self._steps + 1):
            return
        try:
            if self._run.is_ours():
                self._values.update(self._of_optimizer(optimizer))
        except Exception as error:
            self._give_up(error)

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not self._handles or not self._is_main(optimizer):
            return
        self._steps += 1
        if not self._wanted.due(self._steps):
            if self._wanted.due(self._steps + 1):
                self._look()
            return
        try:
            if self._run.is_ours():
                self._log_row(time.perf_counter())
                self._look()
            else:  # a forked child
                self.stop()
        except Exception as error:
            self._give_up(error)

    def _is_main(self, optimizer: Optimizer) -> bool:
        main = self._main() if self._main is not None else None
        if main is None:  # the first one, or the one after it
            self._main = weakref.ref(optimizer)
        return main is None or main is optimizer

    def _log_row(self, now: float) -> None:
        values, self._values = self._values, {}
        before, then = self._logged
        self._logged = (self._steps, now)
        step_time_s = (now - then) / (self._steps - before) if before else None
        if step_time_s is not None and self._wanted.step_time:
            values["magic/step_time_s"] = step_time_s
        if self._forward is not None:
            loss, samples = self._forward.loss, self._forward.samples
            if self._wanted.loss and loss is not None:
                values["magic/loss"] = loss.item()
            if self._wanted.throughput and samples and step_time_s:
                values["magic/samples_per_s"] = samples / step_time_s
        if values:
            values = {key: value.item() if isinstance(value, torch.Tensor) else value for key, value in values.items()}
            self._run.log(values, step=OtherStep(self._first_step + self._steps))

    def _of_optimizer(self, optimizer: Optimizer) -> dict[str, Any]:
        ordinal = self._optimizers.setdefault(optimizer, len(self._optimizers))
        name = "magic" if self._main is None or self._is_main(optimizer) else f"magic/optimizer_{ordinal}"
        values: dict[str, Any] = {}
        if self._wanted.lr:
            rates = [group["lr"] for group in optimizer.param_groups if "lr" in group]
            rates = [rate.item() if isinstance(rate, torch.Tensor) else rate for rate in rates]
            if len(set(rates)) == 1:
                values[f"{name}/lr"] = rates[0]
            else:
                values |= {f"{name}/lr_{at}": rate for at, rate in enumerate(rates)}
        if self._wanted.grad_norm:
            norm = total_norm(parameter.grad for group in optimizer.param_groups for parameter in group["params"])
            scale = getattr(optimizer, "grad_scale", None)  # of GradScaler, for optimizers that divide by it themselves
            if norm is not None:
                values[f"{name}/grad_norm"] = norm if scale is None else norm / scale.to(norm.device)
        return values


class _Forward:
    """What modules do during one step: the loss that is returned, the samples that go in."""

    def __init__(self, failed: Any) -> None:
        self.loss: torch.Tensor | None = None
        self.samples = 0
        self._failed = failed
        self._depth = 0
        self._model: weakref.ref[torch.nn.Module] | None = None
        self._ordinal = self._newest = 0
        self._handles: list[RemovableHandle] = [
            register_module_forward_pre_hook(self._before),
            register_module_forward_hook(self._after, with_kwargs=True, always_call=True),
        ]

    def stop(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _before(self, module: torch.nn.Module, args: Any) -> None:
        if _is_traced():
            return
        self._depth += 1

    def _after(self, module: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if _is_traced():
            return
        outermost, self._depth = self._depth <= 1, max(0, self._depth - 1)
        if not torch.is_grad_enabled() or not module.training:  # a validation between two steps
            return
        try:
            if isinstance(output, torch.Tensor) and output.ndim == 0:
                if output.requires_grad:
                    self._follow(output)
                    return
            if outermost:
                self._count(module, args, kwargs)
        except Exception as error:
            self._failed(error)

    def _follow(self, output: torch.Tensor) -> None:
        """Take this scalar as the loss once its backward has run, if none that was computed later is it."""
        self._ordinal += 1
        ordinal, value = self._ordinal, output.detach().clone()

        def backward_ran(gradient: torch.Tensor) -> None:
            if ordinal > self._newest:
                self._newest, self.loss = ordinal, value

        tensor: Any = output  # register_hook has no types
        tensor.register_hook(backward_ran)

    def _count(self, module: torch.nn.Module, args: Iterable[Any], kwargs: Mapping[str, Any]) -> None:
        """Add the samples of a call of the model: the module that is called first in a step."""
        if self._model is None:
            self._model = weakref.ref(module)
        if self._model() is module:
            self.samples += _samples([*args, *kwargs.values()])


def _is_traced() -> bool:
    """Say whether torch is compiling or tracing what it calls: nothing runs now, and hooks are to leave no trace."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def _samples(values: Iterable[Any]) -> int:
    """Return the first dimension of the first tensor, which may be in a list or dict; 0 where there is none."""
    for value in values:
        if isinstance(value, torch.Tensor):
            if value.ndim:
                return int(value.shape[0])
        elif isinstance(value, list | tuple | Mapping):
            inner = cast("Iterable[Any]", value.values() if isinstance(value, Mapping) else value)
            if found := _samples(inner):
                return found
    return 0
