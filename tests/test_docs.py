"""The docs are true: links resolve, every setting has its row, and the README's code runs as it stands there."""

import dataclasses
import re
import sys
from pathlib import Path

import pytest

import disttrack
from disttrack.settings import WANDB_VARIABLES
from tests.road.site import TORCHRUN, Site

REPOSITORY = Path(__file__).parents[1]
PAGES = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("launchers/*.md")]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (REPOSITORY / "README.md").read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_resolves(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_setting_and_its_variable_has_a_row() -> None:
    text = (REPOSITORY / "docs" / "settings.md").read_text()
    names = [field.name for field in dataclasses.fields(disttrack.Settings)]
    assert [name for name in names if f"| `{name}` | `DISTTRACK_{name.upper()}`" not in text] == []
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(names)
    fallbacks = dict(re.findall(r"^\| `(\w+)` \| `DISTTRACK_\w+`, else `(WANDB_\w+)`", text, re.MULTILINE))
    assert fallbacks == WANDB_VARIABLES


def test_tests_that_the_docs_name_exist() -> None:
    for page in PAGES:
        for path, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text()):
            assert (REPOSITORY / path).exists(), (page.name, path)
            assert not name or f"def {name}(" in (REPOSITORY / path).read_text(), (page.name, name)


@pytest.mark.real(timeout_s=120)
def test_the_readmes_script_and_its_python_run_as_they_stand_there(tmp_path: Path) -> None:
    site = Site(tmp_path)
    train, read = blocks("python")
    site.run(*TORCHRUN, 4, site.script(train))
    run = site.only_run()
    assert (run["project"], run["group"], run["state"], run["ranks_joined"]) == ("demo", "first", "finished", 4)
    assert [rank["rows"] for rank in run["ranks"]] == [500] * 4
    assert site.run(sys.executable, site.script(read, "read.py")) == f"{run['name']} finished 2000\n"


def test_the_readmes_output_has_the_columns_that_the_commands_print(tmp_path: Path) -> None:
    (console,) = blocks("console")
    site = Site(tmp_path)
    site.python(
        site.script("import disttrack\nwith disttrack.init(project='p', group='g') as r:\n    r.log({'loss': 1})\n")
    )
    headings = [line.split() for line in console.splitlines() if line.startswith(("ID ", "RANK "))]
    run_id = site.ls()[0]["id"]
    assert headings[0] == site.cli("ls").splitlines()[0].split()
    ranks = next(line for line in site.cli("ranks", run_id).splitlines() if line.startswith("RANK"))
    assert headings[1] == ranks.split()
