"""The accelerators of a host, by their driver's own library: torch is never imported for it."""

from __future__ import annotations

from typing import Any

import pynvml  # pyright: ignore[reportMissingTypeStubs] - it has none

__all__ = ["devices"]

nvml: Any = pynvml


def devices() -> dict[str, object]:
    """Return driver, cuda and the list of GPUs: index, name, memory_bytes, uuid. Empty where there is no such driver.

    All of the host's, whatever CUDA_VISIBLE_DEVICES says (which is in the environment of `program`).
    """
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return {}
    try:
        return _found()
    except nvml.NVMLError:
        return {}  # the driver went away half way
    finally:
        nvml.nvmlShutdown()


def _found() -> dict[str, object]:
    cuda = nvml.nvmlSystemGetCudaDriverVersion()
    gpus: list[object] = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            gpus.append(
                {
                    "index": index,
                    "name": _text(nvml.nvmlDeviceGetName(handle)),
                    "memory_bytes": int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
                    "uuid": _text(nvml.nvmlDeviceGetUUID(handle)),
                }
            )
        except nvml.NVMLError:
            gpus.append({"index": index, "name": None, "memory_bytes": None, "uuid": None})  # fallen off the bus
    return {
        "driver": _text(nvml.nvmlSystemGetDriverVersion()),
        "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}",
        "gpus": gpus,
    }


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
