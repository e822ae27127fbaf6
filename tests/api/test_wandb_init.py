"""Every argument of init has its row in docs/coming-from-wandb.md, and the effect that the row tells, by Api or CLI."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import disttrack
from disttrack.api import resuming
from disttrack.errors import NotLoggedIn, ResumeError, UsageError
from disttrack.query.api import RunView
from tests.road.site import Site

pytestmark = pytest.mark.real(timeout_s=120)
PAGE = Path(__file__).parents[2] / "docs" / "coming-from-wandb.md"
CHECKS: dict[str, Callable[[Path], None]] = {}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has init look as long as it takes: what it decides is the matter here, and not that it does so in a second."""
    monkeypatch.setattr(resuming, "LOOK_S", 100.0)
    monkeypatch.setattr(resuming, "READ_S", 60.0)


def check(function: Callable[[Path], None]) -> Callable[[Path], None]:
    """Note what an argument, named like the function, is to do."""
    CHECKS[function.__name__.strip("_")] = function
    return function


def begun(rows: int = 1, /, **arguments: Any) -> RunView:
    """Return a finished run that init opened with these arguments, as Api reads it."""
    arguments = {"project": "p", **arguments}
    with disttrack.init(**arguments) as run:
        for number in range(rows):
            run.log({"x": number})
    return stored(run.id)


def stored(run_id: str) -> RunView:
    with disttrack.Api() as api:
        view = api.run(run_id)
        assert view.receipt.dropped == 0
        return view


def steps(run_id: str) -> list[int]:
    with disttrack.Api() as api:
        found: list[int] = api.run(run_id).history(["x"])["step"].tolist()
        return found


@check
def project(_: Path) -> None:
    assert begun(project="my project").project == "my project"


@check
def entity(_: Path) -> None:
    assert begun(entity="team").entity == "team"


@check
def dir_(directory: Path) -> None:
    run = disttrack.init(project="p", dir=directory / "not" / "there")
    run.finish()
    with disttrack.Api(directory / "not" / "there") as api:
        assert api.run(run.id).project == "p"


@check
def id_(_: Path) -> None:
    assert begun(id="my-id").id == "my-id"
    for wrong in ("", " a", "a:b"):
        with pytest.raises(UsageError):
            disttrack.init(id=wrong)


@check
def name(_: Path) -> None:
    assert begun(name="x" * 300).name == "x" * 300
    assert begun(mode="offline").name.count("-") == 2


@check
def notes(_: Path) -> None:
    assert begun(notes="# a\nb").notes == "# a\nb"


@check
def tags(_: Path) -> None:
    assert begun(tags="one").tags == ["one"]
    assert begun(tags=("a", "b")).tags == ["a", "b"]


@check
def config(directory: Path) -> None:
    (directory / "config.yaml").write_text("lr: {value: 1e-4}\nepochs: 3\n")
    assert begun(config=str(directory / "config.yaml")).config == {"lr": 1e-4, "epochs": 3}
    assert begun(config={"a.b": 1}).config == {"a.b": 1}


@check
def config_exclude_keys(_: Path) -> None:
    assert begun(config={"a": 1, "b": 2}, config_exclude_keys=["a"]).config == {"b": 2}


@check
def config_include_keys(_: Path) -> None:
    assert begun(config={"a": 1, "b": 2}, config_include_keys=["a"]).config == {"a": 1}


@check
def allow_val_change(_: Path) -> None:
    with disttrack.init(project="p", config={"lr": 1}, allow_val_change=True) as run:
        run.config.lr = 2
    assert stored(run.id).config == {"lr": 2}


@check
def group(_: Path) -> None:
    assert begun(group="g").group == "g"
    assert begun(settings={"rank": 0, "world_size": 2}).group


@check
def job_type(_: Path) -> None:
    assert begun(job_type="eval").job_type == "eval"
    run = begun(job_type="train", settings={"rank": 0, "world_size": 2})
    assert [rank.job_type for rank in run.ranks] == ["train-rank-0", None]


@check
def mode(directory: Path) -> None:
    for each in ("online", "offline", "dryrun", "run", "shared"):
        assert begun(mode=each).summary == {"x": 0}
    before = Site(directory).ls()
    disttrack.init(project="p", mode="disabled").finish()
    assert len(Site(directory).ls()) == len(before) == 5


@check
def force(directory: Path) -> None:
    with pytest.raises(NotLoggedIn):
        disttrack.init(project="p", force=True)
    assert Site(directory).ls() == []
    assert begun(force=True, mode="offline").state == "finished"


@check
def anonymous(_: Path) -> None:
    assert begun(anonymous="must").state == "finished"


@check
def reinit(_: Path) -> None:
    first = disttrack.init(project="p")
    assert disttrack.init(project="q", reinit=False) is first
    second = disttrack.init(project="q", reinit=True)
    third = disttrack.init(project="r", reinit="create_new")
    assert (first.finished, second.finished, disttrack.run) == (True, False, second)
    second.finish()
    third.finish()
    assert [stored(run.id).project for run in (first, second, third)] == ["p", "q", "r"]


@check
def resume(_: Path) -> None:
    begun(3, id="a")
    assert begun(2, id="a", resume="must").resumed_from == ("a", 2)
    assert steps("a") == [0, 1, 2, 3, 4]
    with pytest.raises(ResumeError):
        disttrack.init(project="p", id="a", resume="never")
    with pytest.raises(ResumeError):
        disttrack.init(project="p", id="b", resume="must")


@check
def resume_from(_: Path) -> None:
    begun(5, id="a")
    begun(1, resume_from="a?_step=1")
    assert steps("a") == [0, 1, 2]


@check
def fork_from(_: Path) -> None:
    begun(5, id="a")
    fork = begun(1, fork_from="a?_step=1")
    assert fork.forked_from == ("a", 1)
    assert steps(fork.id) == [0, 1, 2]


@check
def settings(_: Path) -> None:
    assert begun(settings={"notes": "n"}).notes == "n"
    assert begun(settings=disttrack.Settings(notes="n")).notes == "n"
    with pytest.raises(UsageError, match="Did you mean notes"):
        disttrack.init(settings={"note": "n"})


def kept(argument: str) -> Callable[[Path], None]:
    """Return the check of an argument that nothing carries out yet, or that tests of its own look at."""

    def accepted(_: Path) -> None:
        arguments: dict[str, Any] = {argument: True}
        assert begun(**arguments).state == "finished"

    return accepted


@check
def save_code(directory: Path) -> None:
    site = Site(directory)
    code = "import disttrack, sys\ndisttrack.init(project='p', id=sys.argv[1], save_code=sys.argv[1] == 'with')\n"
    for run_id in ("with", "without"):
        site.python(site.script(code), run_id)
    with disttrack.Api() as api:
        assert [file.path for file in api.run("with").files()] == ["code/train.py"]
        assert api.run("without").files() == []


for argument in ("tensorboard", "sync_tensorboard", "monitor_gym", "magic"):
    CHECKS[argument] = kept(argument)


def rows_of_the_page() -> dict[str, str]:
    text = PAGE.read_text().partition("## init")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \|.*\| (same|better|not yet) \|$", text, re.MULTILINE))


def test_every_argument_has_a_row_and_a_check() -> None:
    arguments = set(inspect.signature(disttrack.init).parameters)
    assert set(rows_of_the_page()) == arguments == set(CHECKS)


@pytest.mark.parametrize("argument", sorted(CHECKS))
def test_an_argument_does_what_its_row_says(argument: str, tmp_path: Path) -> None:
    CHECKS[argument](tmp_path)
