"""Calls one function of a benchmark's module in this fresh process, and prints what it returns as JSON."""

from __future__ import annotations

import importlib
import json
import sys

__all__: list[str] = []

if __name__ == "__main__":
    module, function, arguments = sys.argv[1:]
    answer = getattr(importlib.import_module(module), function)(*json.loads(arguments))
    print(json.dumps(answer), flush=True)
