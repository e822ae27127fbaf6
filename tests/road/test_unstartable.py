"""A writer that cannot be started is one warning; the run goes on, and is stored once somebody can."""

import sys

import pytest

from tests.road.site import Site


@pytest.mark.real(timeout_s=120)
@pytest.mark.parametrize(("program", "cause"), [("/nowhere/python", "/nowhere/python"), ("/bin/false", "exit code 1")])
def test_a_writer_that_cannot_start_is_one_warning_and_loses_nothing(site: Site, program: str, cause: str) -> None:
    output = site.python(
        site.script(
            f"""
            import sys, warnings, disttrack
            python, sys.executable = sys.executable, "{program}"
            run = disttrack.init(project="p", config={{"lr": 1}}, settings={{"finish_timeout_s": 5}})
            for step in range(100): run.log({{"x": step}})
            receipt = run.finish()
            assert (receipt.logged, receipt.pending) == (101, 101), receipt
            """
        )
    )
    assert output.count("InitStartError: This run's writer cannot be started") == 1
    assert cause in output
    run = site.only_run()
    assert (run["state"], run["ranks"][0]["rows"], run["config"]) == ("finished", 100, {"lr": 1})


@pytest.mark.real(timeout_s=120)
def test_where_warnings_are_errors_it_is_logged_and_training_goes_on(site: Site) -> None:
    script = site.script(
        """
        import sys, disttrack
        python, sys.executable = sys.executable, "/nowhere/python"
        run = disttrack.init(project="p", settings={"finish_timeout_s": 3})
        run.log({"x": 1})
        run.finish()
        sys.executable = python
        """
    )
    output = site.run(sys.executable, "-W", "error", script)
    assert output.count("InitStartError: This run's writer cannot be started") == 1
    assert site.only_run()["ranks"][0]["rows"] == 1


@pytest.mark.real(timeout_s=120)
def test_a_writer_that_goes_at_once_is_told_with_its_last_words(site: Site) -> None:
    broken = site.directory / "broken"
    broken.mkdir()
    (broken / "zmq.py").write_text("raise ImportError('this zmq is broken')\n")
    output = site.python(
        site.script(
            f"""
            import os, disttrack
            os.environ["PYTHONPATH"] = "{broken}" + os.pathsep + os.environ.get("PYTHONPATH", "")
            run = disttrack.init(project="p", settings={{"finish_timeout_s": 30}})
            run.log({{"x": 1}})
            run.finish()
            """
        )
    )
    assert "InitStartError: This run's writer cannot be started: ImportError: this zmq is broken" in output
    assert site.only_run()["ranks"][0]["rows"] == 1
