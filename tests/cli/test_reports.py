"""What people read of a run and of its ranks."""

from __future__ import annotations

import dataclasses

import pytest
from rich.cells import cell_len

from disttrack.cli.attempts import failure_sentence, rank_ending, state_colour
from disttrack.cli.listing import run_table
from disttrack.cli.output import iso
from disttrack.cli.rank_reports import rank_report
from disttrack.cli.reading import sentences
from disttrack.cli.reports import comparison_report, receipt_sentence, run_report, run_sentence
from disttrack.cli.tables import Terminal
from disttrack.query.alerts import AlertRow
from disttrack.query.attempts import AttemptRow, Failure
from disttrack.query.members import RankState
from disttrack.query.rank_view import RankView
from disttrack.query.ranks import RankComparison, RankPace
from disttrack.query.runs import RankRow, RunDetail, RunReceipt, Spread
from disttrack.query.shapes import detail_shape
from disttrack.writer.homecoming import Homecoming

ANYWHERE = Terminal()


def rank(number: int, state: RankState = "finished", attempt: int = 0) -> RankRow:
    if state == "absent":
        return RankRow(number, None, None, None, state, attempt, 0, None, None)
    return RankRow(number, number, "node-a", f"rank-{number}", state, attempt, 2_000, 1_999, 65.0)


RUN = RunDetail(
    id="ab12cd34",
    entity=None,
    project="demo",
    name="merry-otter-3",
    group="digits",
    job_type=None,
    state="finished",
    world_size=4,
    ranks_joined=4,
    attempt=0,
    created_at=1_700_000_000.0,
    ended_at=1_700_000_185.0,
    duration_s=185.0,
    tags=["first", "try"],
    notes="two\nlines",
    summary={"loss": 0.123456, "note": "text"},
    archived=False,
    config={"lr": 0.001, "model": {"width": 1_024, "layers": [64, 10]}},
    summary_ranks={"loss": Spread(0.1, 0.12, 0.2, 3)},
    ranks=[rank(number) for number in range(4)],
    receipt=RunReceipt(8_000, 8_000, 0, 0, 0),
    attempts=[AttemptRow(0, "finished", 4, 4, 1_700_000_000.0, 1_700_000_185.0, 0, 1_999, 0, None)],
    first_failure=None,
)


def pace(number: int, median: float | None = 0.005, skew: float | None = 1.0) -> RankPace:
    return RankPace(number, "node-a", f"rank-{number}", "running", 1_999, 0, 1.0, median, median, skew)


def comparison(*paces: RankPace, metric: str | None = None) -> str:
    return "\n".join(comparison_report(RankComparison("ab12cd34", "demo", "merry", metric, list(paces)), ANYWHERE))


def words(line: str) -> list[str]:
    return line.split()


def test_show_tells_a_run_from_its_name_to_its_ranks() -> None:
    lines = list(run_report(RUN, ANYWHERE))
    assert lines[0] == "merry-otter-3  demo/ab12cd34"
    assert "  tags      first, try" in lines
    assert lines[lines.index("  notes     two") + 1] == "            lines"
    assert "  records   8,000 records logged: 8,000 stored, 0 pending, 0 dropped" in lines
    assert "  model.width   1024" in lines
    assert words(lines[lines.index("Summary") + 2]) == ["loss", "0.1235", "0.1", "0.12", "0.2", "rank", "3"]
    assert words(lines[-1]) == ["3", "3", "node-a", "rank-3", "finished", "2,000", "1,999", "1m05s", "ago"]


def test_a_run_of_one_rank_has_no_spread_over_ranks() -> None:
    run = dataclasses.replace(RUN, world_size=1, ranks_joined=1, ranks=[rank(0)])
    lines = list(run_report(run, ANYWHERE))
    assert words(lines[lines.index("Summary") + 1]) == ["KEY", "LAST"]
    assert lines[1].startswith("Finished after 3m05s; started ")
    assert "joined" not in lines[1]


@pytest.mark.parametrize(
    ("states", "told"),
    [
        (["finished"] * 4, "4 of 4 ranks joined: all finished."),
        (["finished", "crashed", "finished", "finished"], "4 of 4 ranks joined: rank 1 crashed, 3 finished."),
        (["finished", "absent", "absent", "absent"], "1 of 4 ranks joined: rank 0 finished, 3 absent."),
        (["failed", "failed", "finished", "finished", "finished"], "5 ranks joined: ranks 0, 1 failed, 3 finished."),
        (["lost"] * 10 + ["running"] * 12, "22 ranks joined: 10 lost, 12 running."),
    ],
)
def test_one_sentence_says_which_ranks_are_not_as_the_others(states: list[RankState], told: str) -> None:
    run = dataclasses.replace(
        RUN,
        world_size=len(states),
        ranks_joined=sum(state != "absent" for state in states),
        ranks=[rank(number, state) for number, state in enumerate(states)],
    )
    assert run_sentence(run).endswith(told)


def test_a_run_that_goes_on_says_for_how_long_and_in_which_attempt() -> None:
    run = dataclasses.replace(RUN, state="running", ended_at=None, attempt=2)
    assert run_sentence(run).startswith("Running for 3m05s, since ")
    assert ", attempt 2. " in run_sentence(run)


def test_a_receipt_says_what_no_node_answers_for() -> None:
    assert receipt_sentence(RunReceipt(1, 0, 1, 0, 1)) == (
        "1 record logged: 0 stored, 1 pending, 0 dropped; of the pending, 1 are on nodes that do not answer"
    )


def test_what_users_wrote_is_escaped_wherever_it_is_shown() -> None:
    evil = "\x1b[2J\x07"
    run = dataclasses.replace(
        RUN,
        name=evil,
        group=evil,
        job_type=evil,
        tags=[evil],
        notes=evil,
        config={evil: {evil: evil}},
        summary={evil: 1.0},
        summary_ranks={evil: Spread(1.0, 1.0, 1.0, 0)},
        ranks=[dataclasses.replace(rank(0), node=evil, job_type=evil)] * 4,
    )
    printed = [*run_report(run, ANYWHERE), *run_table([run], ANYWHERE)]
    printed += comparison(dataclasses.replace(pace(0), node=evil), pace(1), metric=evil).splitlines()
    assert all(line.isprintable() for line in printed)
    assert sum("\\x1b[2J\\x07" in line for line in printed) >= 10


def test_the_slowest_rank_is_marked_and_named() -> None:
    told = comparison(pace(0), pace(1), pace(2), pace(3, 0.00655, 1.31))
    marked = [line for line in told.splitlines() if line.endswith("<- slowest")]
    assert [words(line)[0] for line in marked] == ["3"]
    assert "MEDIAN ms  P95 ms" in told
    assert told.endswith("Rank 3 on node-a is the slowest: 1.31x the median rank in time between rows.")


def test_ranks_that_stray_little_are_not_accused() -> None:
    told = comparison(pace(0), pace(1, 0.0054, 1.09))
    assert "<-" not in told
    assert told.endswith("No rank is 10% or more above the median rank in time between rows.")


def test_one_rank_is_not_compared_with_itself() -> None:
    assert comparison(pace(0)).splitlines()[-1].split()[0] == "0"
    assert comparison(pace(0), pace(1, None, None)).splitlines()[-1].split()[0] == "1"


def test_slow_steps_are_told_in_seconds() -> None:
    assert "MEDIAN s  P95 s" in comparison(pace(0, 2.5), pace(1, 2.4))


def test_a_metric_is_named_and_compared_as_it_is() -> None:
    told = comparison(pace(0, 0.5), pace(1, 1.0, 2.0), metric="loss")
    assert told.splitlines()[0] == "merry  demo/ab12cd34: loss of each rank"
    assert "MEDIAN  P95" in told
    assert told.endswith("Rank 1 on node-a is the highest: 2.00x the median rank in loss.")


def test_ls_shows_the_attempt_only_where_there_was_more_than_one() -> None:
    again = dataclasses.replace(RUN, id="zz", attempt=1)
    assert "ATTEMPT" not in next(run_table([RUN], ANYWHERE))
    assert "ATTEMPT" in next(run_table([RUN, again], ANYWHERE))


def test_ls_shows_the_three_numbers_that_most_runs_have() -> None:
    runs = [
        dataclasses.replace(RUN, summary={"flag": True, "only": 1, "a": 1, "b": 2.0, "text": "x", "last": 1}),
        dataclasses.replace(RUN, summary={"flag": True, "b": 2.0, "a": 1, "text": "x", "last": 4}),
    ]
    assert words(next(run_table(runs, ANYWHERE)))[-3:] == ["a", "b", "last"]


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_everything_fits_a_terminal(width: int) -> None:
    long = dataclasses.replace(
        RUN,
        name="a name that goes on and on " * 3,
        project="a-project-with-a-long-name",
        group="a group with a long name",
        summary={"a/rather/long/key/of/a/metric": 1.5, "accuracy": 0.5, "reward": 1e9},
        ranks=[dataclasses.replace(rank(number), node="node-with-a-long-name.cluster") for number in range(4)],
    )
    terminal = Terminal(width)
    lines = [*run_table([long, RUN], terminal)]
    report = list(run_report(long, terminal))
    lines += report[report.index("Summary") :]
    slow = [dataclasses.replace(pace(number, 0.005, 1.5), node="node-with-a-long-name.cluster") for number in range(4)]
    lines += [*comparison_report(RankComparison("ab12cd34", "demo", "merry", None, slow), terminal)][1:-1]
    assert [line for line in lines if cell_len(line) > width] == []


def test_homecomings_are_told_once_a_run() -> None:
    homecomings = [
        Homecoming("demo", "ab12cd34", 0, 1_000, False),
        Homecoming("demo", "ab12cd34", 1, 234, False),
        Homecoming("de\x1bmo", "zz", 0, 1, True),
    ]
    assert list(sentences(homecomings)) == [
        "Brought home 1,234 records of 2 dead ranks into demo/ab12cd34.",
        "Brought home 1 record of 1 dead rank into de\\x1bmo/zz. No writer ever met them: tagged orphan.",
    ]


def test_ranks_that_never_called_init_are_counted_where_they_are_many() -> None:
    absent = [rank(number, state="absent") for number in range(1, 1_000)]
    lines = list(run_report(dataclasses.replace(RUN, ranks=[rank(0), *absent]), ANYWHERE))
    assert lines[lines.index("Ranks") + 2 :][1:2] == ["  999 ranks never called init"]


KILLED = Failure(2, "node-b", "crashed", None, "SIGKILL", None, 1_700_000_100.0, 3)


def test_show_names_the_rank_that_failed_first_and_what_each_attempt_lost() -> None:
    attempts = [
        AttemptRow(0, "crashed", 4, 4, 1_700_000_000.0, 1_700_000_100.0, 0, 999, 500, KILLED),
        AttemptRow(1, "running", 4, 4, 1_700_000_100.0, None, 500, 700, 0, None),
    ]
    ranks = [dataclasses.replace(rank(number, attempt=1), exit_code=0) for number in range(4)]
    lines = list(run_report(dataclasses.replace(RUN, attempts=attempts, ranks=ranks), ANYWHERE))
    first, second = lines[lines.index("Attempts") + 2 : lines.index("Attempts") + 4]
    assert words(first)[:3] == ["0", "crashed", "4/4"]
    assert words(first)[-14:-11] == ["0", "999", "500"]
    assert first.endswith("rank 2 on node-b crashed (SIGKILL); 3 other ranks after it")
    assert words(second)[-4:] == ["500", "700", "0", "-"]
    assert not any("first of all" in line for line in lines)
    lines = list(run_report(dataclasses.replace(RUN, first_failure=dataclasses.replace(KILLED, others=0)), ANYWHERE))
    assert "  failed    first of all rank 2 on node-b crashed (SIGKILL)" in lines
    assert "Attempts" not in lines


@pytest.mark.parametrize(
    ("state", "exit_code", "signal", "text", "colour"),
    [
        ("finished", 0, None, "finished", "green"),
        ("stopped", 0, None, "stopped", "yellow"),
        ("finished", 3, None, "finished, then exit 3", "red"),
        ("finished", 0, "SIGSEGV", "finished, then SIGSEGV", "red"),
        ("failed", 1, None, "failed (exit 1)", "red"),
        ("failed", 1, "SIGABRT", "failed (SIGABRT)", "red"),
        ("crashed", None, None, "crashed", "red"),
        ("running", None, None, "running", "cyan"),
    ],
)
def test_a_state_says_how_the_rank_came_to_it(
    state: str, exit_code: int | None, signal: str | None, text: str, colour: str
) -> None:
    assert rank_ending(state, exit_code, signal) == text
    assert state_colour(text) == colour


def test_an_exception_is_told_by_its_first_line() -> None:
    told = Failure(2, "node-b", "failed", 1, None, "ValueError: no\nmore", 1_700_000_100.0, 1)
    assert failure_sentence(told) == "rank 2 on node-b failed (exit 1): ValueError: no; 1 other rank after it"


def test_a_rank_by_itself_and_alerts_and_other_configs_are_told() -> None:
    alert = AlertRow(3, 0, "ERROR", "loss is nan\x1b", "at step 7", 1_700_000_000.0)
    run = dataclasses.replace(RUN, alerts=[alert], config_by_rank={rank: {"shard": rank} for rank in range(1, 12)})
    told = "\n".join(run_report(run, ANYWHERE))
    assert "  error     loss is nan\\x1b: at step 7 (rank 3, " in told
    assert "  on rank 1: shard = 1" in told
    assert "  and 3 more ranks have a config of their own" in told
    one = RankView(
        **vars(RUN.ranks[0]),
        id="ab12",
        project="p",
        name="calm",
        config={"lr": 0.1},
        summary={"loss": 0.25},
        exception="ValueError: x\nmore",
        alerts=[alert],
    )
    lines = list(rank_report(one, ANYWHERE))
    assert lines[0] == "calm  p/ab12, rank 0"
    assert "  failed    ValueError: x" in lines
    assert "  lr  0.1" in lines


def test_the_json_of_a_run_names_its_repository_and_its_program() -> None:
    shape = detail_shape(RUN, iso)
    assert (shape["git"], shape["program"], shape["argv"]) == (None, None, None)
    source: dict[str, object] = {"commit": "abc", "branch": "main", "remote": None, "dirty": True, "root": "/r"}
    program: dict[str, object] = {"program": "train.py", "argv": ["train.py", "--lr=1"], "python": "3.11.7"}
    shape = detail_shape(dataclasses.replace(RUN, about={"source": source | {"more": 1}, "program": program}), iso)
    assert shape["git"] == source
    assert (shape["program"], shape["argv"]) == ("train.py", ["train.py", "--lr=1"])
