"""`python -m benchmarks [NAME ...] [--json] [--peers wandb,trackio] [--repeats N] [--quick]`."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import browser, crash, fan_in, log_call, on_ray, page, process_cost, reading, sizes, throughput
from benchmarks.peers import PEERS, Peer
from benchmarks.result import Benchmark, Result, missing, result_of
from benchmarks.tables import table
from benchmarks.workbench import Unmeasurable, Workbench, workbench

__all__ = ["THEMES", "main"]

THEMES: dict[str, tuple[Benchmark, ...]] = {
    "What a log() call costs": log_call.BENCHMARKS,
    "From log() into the store": throughput.BENCHMARKS,
    "Many ranks, one writer": fan_in.BENCHMARKS,
    "What a process pays besides": process_cost.BENCHMARKS,
    "When a process is killed": crash.BENCHMARKS,
    "On disk": sizes.BENCHMARKS,
    "Reading it back": reading.BENCHMARKS,
    "Under Ray": on_ray.BENCHMARKS,
    "On the page": (*page.BENCHMARKS, *browser.BENCHMARKS),
}
_BY_NAME = {benchmark.name: benchmark for benchmarks in THEMES.values() for benchmark in benchmarks}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that were named, or all; the exit code is 0 whatever they measured, 2 for wrong use."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=sys.modules["benchmarks"].__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="which benchmarks (default: all; page: all of page-...); see --list"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--peers", default="", help=f"measure these, too: {','.join(PEERS)}")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="of each, ours and limit in turns (5)")
    parser.add_argument("--quick", action="store_true", help="little data: shows that all works, not how fast")
    parser.add_argument("--dir", type=Path, help="a local disk to work on (default: the temporary directory)")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    chosen = parser.parse_args(arguments)
    asked: list[str] = chosen.names
    meant = [name for one in asked for name in _family(one) or [one]]
    names, peers = list(dict.fromkeys(meant)) or list(_BY_NAME), [name for name in chosen.peers.split(",") if name]
    for given, known in ((names, [*_BY_NAME]), (peers, [*PEERS])):
        for name in given:
            if name not in known:
                near: list[str] = difflib.get_close_matches(name, known, n=4, cutoff=0.4) or known
                parser.error(f"there is no {name!r} here. Did you mean {', '.join(near)}?")
    if chosen.repeats < 1:
        parser.error("--repeats takes a number from 1 on")
    if chosen.list:
        print("\n".join(f"{benchmark.name:18} {benchmark.what}" for benchmark in _BY_NAME.values()))
        return 0
    found = _measure_all(names, peers, chosen.repeats, quick=chosen.quick, where=chosen.dir)
    if chosen.json:
        rows = [dataclasses.asdict(result) for results in found.values() for result in results]
        print(json.dumps({"machine": _machine(), "results": rows}, indent=1, allow_nan=False))
    else:
        print(_machine())
        for theme, results in found.items():
            print(f"\n## {theme}\n\n{table(results, peers)}")
    return 0


def _family(asked: str) -> list[str]:
    """Return the benchmarks whose names begin with a word and a hyphen."""
    return [name for name in _BY_NAME if asked not in _BY_NAME and name.startswith(f"{asked}-")]


def _measure_all(
    names: Sequence[str], peer_names: Sequence[str], repeats: int, *, quick: bool, where: Path | None
) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    with workbench(repeats, quick=quick, where=where) as bench:
        peers: list[Peer] = []
        for name in peer_names:
            try:
                peers.append(Peer(name))
            except Unmeasurable as reason:
                print(reason, file=sys.stderr)
        for theme, benchmarks in THEMES.items():
            for benchmark in benchmarks:
                if benchmark.name in names:
                    print(f"measuring {benchmark.name} ...", file=sys.stderr, flush=True)
                    result = _measured(bench, benchmark)
                    if benchmark.name.startswith("page-"):  # what a browser takes depends most on what else runs
                        load = f"load {os.getloadavg()[0]:.0f}"
                        result = dataclasses.replace(result, note=f"{result.note}; {load}" if result.note else load)
                    beside = {
                        peer.name: peer.measure(bench, benchmark.peer) for peer in peers if benchmark.peer is not None
                    }
                    found.setdefault(theme, []).append(dataclasses.replace(result, peers=beside))
    return found


def _measured(bench: Workbench, benchmark: Benchmark) -> Result:
    try:
        return result_of(benchmark, benchmark.measure(bench))
    except Unmeasurable as reason:
        return missing(benchmark, str(reason))
    except Exception as error:  # one benchmark that breaks must not cost the others their results
        said = str(error).partition("\n")[0]
        return missing(benchmark, f"failed: {type(error).__name__}: {said}")


def _machine() -> str:
    load = f"{os.getloadavg()[0]:.1f}"
    return f"{platform.platform()}, {os.cpu_count()} processors, Python {platform.python_version()}, load {load}"


if __name__ == "__main__":
    sys.exit(main())
