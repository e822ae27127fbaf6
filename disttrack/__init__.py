"""disttrack: the flight recorder and logbook of distributed training.

    run = disttrack.init(project="demo", group="first")     # in every rank
    run.log({"loss": loss}, step=i)
    receipt = run.finish()

Importing this loads nothing but this file; each name brings its room when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from disttrack import errors as errors
    from disttrack.api.calls import alert as alert
    from disttrack.api.calls import define_metric as define_metric
    from disttrack.api.calls import mark_preempting as mark_preempting
    from disttrack.api.calls import save as save
    from disttrack.api.calls import unwatch as unwatch
    from disttrack.api.calls import watch as watch
    from disttrack.api.config import Config
    from disttrack.api.images import Image as Image
    from disttrack.api.images import Video as Video
    from disttrack.api.init import finish as finish
    from disttrack.api.init import init as init
    from disttrack.api.init import log as log
    from disttrack.api.receipt import Receipt as Receipt
    from disttrack.api.run import Run as Run
    from disttrack.api.summary import Summary
    from disttrack.api.tables import Histogram as Histogram
    from disttrack.api.tables import Table as Table
    from disttrack.query.api import Api as Api
    from disttrack.records.payloads import AlertLevel as AlertLevel
    from disttrack.records.types import Rank as Rank
    from disttrack.settings import Settings as Settings

    run: Run | None
    config: Config
    summary: Summary

__all__ = [
    "AlertLevel",
    "Api",
    "Histogram",
    "Image",
    "Rank",
    "Receipt",
    "Run",
    "Settings",
    "Table",
    "Video",
    "alert",
    "config",
    "define_metric",
    "errors",
    "finish",
    "init",
    "log",
    "mark_preempting",
    "run",
    "save",
    "summary",
    "unwatch",
    "watch",
]
__version__ = "0.1.0.dev0"

_HOMES = {
    "AlertLevel": "disttrack.records.payloads",
    "Api": "disttrack.query.api",
    "Histogram": "disttrack.api.tables",
    "Image": "disttrack.api.images",
    "Rank": "disttrack.records.types",
    "Receipt": "disttrack.api.receipt",
    "Run": "disttrack.api.run",
    "Settings": "disttrack.settings",
    "Table": "disttrack.api.tables",
    "Video": "disttrack.api.images",
    "alert": "disttrack.api.calls",
    "define_metric": "disttrack.api.calls",
    "finish": "disttrack.api.init",
    "init": "disttrack.api.init",
    "log": "disttrack.api.init",
    "mark_preempting": "disttrack.api.calls",
    "save": "disttrack.api.calls",
    "unwatch": "disttrack.api.calls",
    "watch": "disttrack.api.calls",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name == "errors":
        return importlib.import_module("disttrack.errors")
    if name in _HOMES:
        value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return value
    if name in ("run", "config", "summary"):  # of the moment: never cached
        opened = importlib.import_module("disttrack.api.init")
        return opened.current() if name == "run" else getattr(opened, name)()
    raise AttributeError(f"module 'disttrack' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
