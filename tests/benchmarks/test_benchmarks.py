"""`python -m benchmarks` prints what it says it prints. No test here looks at a time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import THEMES
from benchmarks.result import Benchmark, Goal, Measured, missing, result_of
from benchmarks.tables import table

REPOSITORY = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=800, check=False)


def benchmark(goal: Goal) -> Benchmark:
    return Benchmark("name", "what", "µs", goal, lambda _: Measured([1.0]), "bare")


@pytest.mark.real(timeout_s=180)
def test_quick_benchmarks_print_strict_json_of_what_was_asked_for() -> None:
    asked = ["log-sleeps", "throughput", "fan-in-agents", "fan-in-agent", "log-bytes", "index-many", "page-sorted"]
    done = run("--quick", "--json", "--repeats", "2", *asked)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    results = {result["name"]: result for result in document["results"]}
    assert list(results) == asked
    assert "Python" in document["machine"]
    for result in results.values():
        assert {type(result[key]) for key in ("what", "unit", "limit_name", "goal", "note")} == {str}
        assert isinstance(result["ours"], float), result
        assert isinstance(result["met"], bool)
        assert result["peers"] == {}
    throughput = results["throughput"]
    lowest, highest = throughput["spread"]
    assert 0 < lowest <= throughput["ratio"] <= highest
    assert throughput["limit"] > 0


@pytest.mark.parametrize(
    ("asked", "near"), [(["troughput"], "throughput"), (["log-tigth"], "log-tight"), (["--peers", "wanbd"], "wandb")]
)
def test_an_unknown_name_is_answered_with_the_near_ones(asked: list[str], near: str) -> None:
    done = run(*asked)
    assert done.returncode == 2
    assert done.stdout == ""
    assert near in done.stderr.splitlines()[-1]


def test_names_are_different_and_each_has_a_goal() -> None:
    benchmarks = [benchmark for benchmarks in THEMES.values() for benchmark in benchmarks]
    assert len({benchmark.name for benchmark in benchmarks}) == len(benchmarks)
    assert all(benchmark.goal.text(benchmark.unit) for benchmark in benchmarks)


def test_the_performance_page_has_every_benchmark() -> None:
    page = (REPOSITORY / "docs" / "performance.md").read_text()
    names = [benchmark.name for benchmarks in THEMES.values() for benchmark in benchmarks]
    assert [name for name in names if f"| {name} " not in page] == []


def test_a_ratio_is_the_median_over_pairs_and_decides_with_the_figure_itself() -> None:
    measured = Measured([2.0, 4.0, 9.0], [1.0, 1.0, 3.0], "busy")
    result = result_of(benchmark(Goal(at_most=4, ratio_at_most=3)), measured)
    assert (result.ours, result.limit, result.ratio, result.spread, result.met) == (4.0, 1.0, 3.0, (2.0, 4.0), True)
    assert result_of(benchmark(Goal(at_most=3.9)), measured).met is False
    assert result_of(benchmark(Goal(ratio_at_least=3.1)), measured).met is False
    assert result_of(benchmark(Goal(at_least=4, also="small")), measured._replace(also=False)).met is False


def test_what_could_not_be_measured_is_said_and_not_counted_as_met() -> None:
    result = missing(benchmark(Goal(at_most=1)), "strace is not installed")
    assert (result.ours, result.met) == (None, None)
    lines = table([result, result_of(benchmark(Goal(ratio_at_most=3)), Measured([5.0], [1.0]))], []).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "strace is not installed" in lines[2]
    assert "**no**" in lines[3]
