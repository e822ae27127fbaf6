"""NVIDIA devices, by the driver's own library (NVML); without a driver there are none."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["Devices", "devices"]

T = TypeVar("T")
_WATT = 1e-3  # of the milliwatts that NVML tells


class Devices:
    """The devices that the driver shows; asked from one thread at a time. A driver may take seconds to answer."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        try:
            nvml: Any = importlib.import_module("pynvml")  # it has no types
            nvml.nvmlInit()
            self._nvml = nvml
            self._handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        except Exception:  # no binding, no library, no driver, no rights: all of them its own NVMLError, or ImportError
            self._handles = []

    def describe(self) -> list[dict[str, object]]:
        """Return what each device is: name, memory_bytes, uuid, as far as the driver tells."""
        return [
            {name: value for name, value in self._facts(handle).items() if value is not None}
            for handle in self._handles
        ]

    def _facts(self, handle: object) -> dict[str, object]:
        nvml = self._nvml
        return {
            "name": self._ask(lambda: _text(nvml.nvmlDeviceGetName(handle))),
            "memory_bytes": self._ask(lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).total)),
            "uuid": self._ask(lambda: _text(nvml.nvmlDeviceGetUUID(handle))),
        }

    def driver(self) -> str | None:
        """Return the driver's version."""
        return self._ask(lambda: _text(self._nvml.nvmlSystemGetDriverVersion())) if self._nvml is not None else None

    def sample(self) -> dict[str, int | float]:
        """Return how busy, full, hot and hungry each device is: `gpu.0.percent`, ..."""
        sample: dict[str, int | float] = {}
        for index, handle in enumerate(self._handles):
            for name, value in self._measures(handle).items():
                if value is not None:
                    sample[f"gpu.{index}.{name}"] = value
        return sample

    def _measures(self, handle: object) -> dict[str, int | float | None]:
        nvml = self._nvml
        return {
            "percent": self._ask(lambda: int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)),
            "memory_used_bytes": self._ask(lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).used)),
            "temperature_c": self._ask(lambda: int(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))),
            "power_w": self._ask(lambda: _WATT * nvml.nvmlDeviceGetPowerUsage(handle)),
            "clock_mhz": self._ask(lambda: int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))),
        }

    def _ask(self, question: Callable[[], T]) -> T | None:
        """Return the driver's answer; None for what this device does not tell."""
        try:
            return question()
        except self._nvml.NVMLError:
            return None


def devices() -> dict[str, object]:
    """Return the driver's version and the list of GPUs: index, name, memory_bytes, uuid. Empty where there are none.

    All of the host's, whatever CUDA_VISIBLE_DEVICES says (which is in the environment of `program`).
    """
    found = Devices()
    gpus = [{"index": index, **facts} for index, facts in enumerate(found.describe())]
    return {"driver": found.driver(), "gpus": gpus} if gpus else {}


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
