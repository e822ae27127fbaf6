"""Several runs in one script and in its children: reinit in all its values, and the scripts of wandb's init manual."""

import pytest

from tests.road.site import Site

pytestmark = pytest.mark.real(timeout_s=120)  # each starts writers by the dozen


def test_a_second_init_returns_the_open_run_and_names_what_it_ignores(site: Site) -> None:
    output = site.python(
        site.script(
            """
            import disttrack
            run = disttrack.init(project="p", name="first")
            assert disttrack.init(project="q", config={"lr": 1}, tags=["x"]) is run
            assert disttrack.init(reinit=False, name="second") is run
            assert disttrack.init(reinit="return_previous") is run
            assert dict(run.config) == {} and run.project == "p" and run.name == "first"
            """
        )
    )
    assert (
        output.count("a run is open in this process already; init() returns it and ignores project, tags, config.") == 1
    )
    assert output.count("init() returns it and ignores name.") == 1
    assert len(site.ls()) == 1


@pytest.mark.parametrize("reinit", [True, "finish_previous"])
def test_reinit_finishes_the_run_before(site: Site, reinit: object) -> None:
    site.python(
        site.script(
            f"""
            import disttrack
            runs = []
            for number in range(3):
                runs.append(disttrack.init(project="p", name=f"run {{number}}", reinit={reinit!r}))
                assert [run.finished for run in runs] == [True] * number + [False]
                assert disttrack.run is runs[-1]
                disttrack.log({{"x": number}})
            """
        )
    )
    assert {(run["name"], run["summary"]["x"], run["state"]) for run in site.ls()} == {
        (f"run {number}", number, "finished") for number in range(3)
    }


def test_runs_of_other_groups_and_ids_are_runs_of_their_own_also_once_the_first_is_stored(site: Site) -> None:
    site.python(
        site.script(
            """
            import pathlib, sys, time, disttrack
            runs = []
            for arguments in ({"group": "g"}, {"id": "a"}, {}, {"group": "other"}, {"group": "g"}):
                runs.append(disttrack.init(project="p", reinit="create_new", **arguments))
                runs[-1].log({"x": len(runs)})
                log = pathlib.Path(sys.argv[1], "p", runs[-1].id, "log")
                while not any(log.glob("*.dtl")):
                    time.sleep(0.01)
            """
        ),
        site.root,
    )
    runs = map(site.show, [run["id"] for run in site.ls()])
    told = sorted((run["summary"]["x"], run["group"], run["id"] == "a", run["attempt"]) for run in runs)
    assert told == [
        (1, "g", False, 0),
        (2, None, True, 0),
        (3, None, False, 0),
        (4, "other", False, 0),
        (5, "g", False, 0),
    ]


def test_runs_made_beside_each_other_keep_their_rows_apart_and_all_end_with_the_script(site: Site) -> None:
    site.python(
        site.script(
            """
            import sys, disttrack
            first = disttrack.init(project="p", name="first", group="g")
            others = [disttrack.init(project="p", name=f"beside {n}", reinit="create_new") for n in range(3)]
            assert disttrack.run is first and len({run.id for run in [first, *others]}) == 4
            for step in range(50):
                disttrack.log({"x": -1})
                for number, run in enumerate(others):
                    run.log({"x": number})
            others[0].finish()
            assert not others[1].finished and not first.finished
            sys.exit(3)
            """
        ),
        code=3,
    )
    runs = {run["name"]: run for run in site.ls()}
    assert {name: (run["summary"]["x"], run["state"], run["group"]) for name, run in runs.items()} == {
        "first": (-1, "failed", "g"),
        "beside 0": (0, "finished", None),
        "beside 1": (1, "failed", None),
        "beside 2": (2, "failed", None),
    }
    for name, run in runs.items():
        assert len(site.steps(run["id"], "x")[0]) == 50, name


def test_a_run_made_beside_none_is_not_the_current_one_for_children(site: Site) -> None:
    site.python(
        site.script(
            """
            import os, disttrack
            with disttrack.init(project="p", reinit="create_new") as run:
                assert disttrack.run is run
            with disttrack.init(project="p") as first:
                before = os.environ["DISTTRACK_PARENT"]
                with disttrack.init(project="p", reinit="create_new") as second:
                    assert os.environ["DISTTRACK_PARENT"] == before and disttrack.run is first
            assert "DISTTRACK_PARENT" not in os.environ
            """
        )
    )
    assert len(site.ls()) == 3


# Children


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_plain_children_that_init_are_runs_of_one_group_that_end_as_they_do(site: Site, method: str) -> None:
    site.python(
        site.script(
            f"""
            import multiprocessing, disttrack
            def work(number):
                disttrack.init(project="p", group="g", name=f"child {{number}}", config={{"number": number}})
                for step in range(20): disttrack.log({{"x": number}})
                if number == 2: raise RuntimeError("child 2 failed")
                if number == 3: raise SystemExit(5)
            if __name__ == "__main__":
                context = multiprocessing.get_context("{method}")
                children = [context.Process(target=work, args=(number,)) for number in range(4)]
                for child in children: child.start()
                for child in children: child.join()
                assert [child.exitcode for child in children] == [0, 0, 1, 5]
            """
        )
    )
    runs = {run["name"]: site.show(run["id"]) for run in site.ls()}
    assert {name: (run["group"], run["state"], run["world_size"]) for name, run in runs.items()} == {
        f"child {number}": ("g", "finished" if number < 2 else "failed", 1) for number in range(4)
    }
    assert [rank["rows"] for run in runs.values() for rank in run["ranks"]] == [20] * 4
    assert "child 2 failed" in runs["child 2"]["first_failure"]["exception"]


def test_init_in_the_parent_and_log_in_its_children_is_one_run_with_all_rows(site: Site) -> None:
    site.python(
        site.script(
            """
            import multiprocessing, disttrack
            def work(number):
                for step in range(50): disttrack.log({f"child {number}": step}, step=step)
            if __name__ == "__main__":
                disttrack.init(project="p")
                children = [multiprocessing.Process(target=work, args=(number,)) for number in range(4)]
                for child in children: child.start()
                for step in range(50): disttrack.log({"parent": step}, step=step)
                for child in children: child.join()
            """
        )
    )
    run = site.only_run()
    assert (run["state"], run["ranks_joined"], run["ranks"][0]["rows"]) == ("finished", 1, 250)
    for key in ("parent", *(f"child {number}" for number in range(4))):
        assert site.steps(run["id"], key) == {0: list(range(50))}


# The five scripts of wandb's manual for init, by their description, with only the import changed


def test_manual_a_loop_with_reinit_and_finish(site: Site) -> None:
    site.python(
        site.script(
            """
            import disttrack as wandb
            for x in range(10):
                run = wandb.init(reinit=True)
                for y in range(100):
                    wandb.log({"metric": x + y})
                run.finish()
            """
        )
    )
    runs = site.ls()
    assert sorted(run["summary"]["metric"] for run in runs) == list(range(99, 109))
    assert {(run["state"], run["project"]) for run in runs} == {("finished", "uncategorized")}


def test_manual_a_with_block_in_a_loop(site: Site) -> None:
    site.python(
        site.script(
            """
            import disttrack as wandb
            for x in range(10):
                with wandb.init() as run:
                    for y in range(100):
                        run.log({"metric": x + y})
            """
        )
    )
    assert sorted(run["summary"]["metric"] for run in site.ls()) == list(range(99, 109))


def test_manual_a_readable_run_name(site: Site) -> None:
    output = site.python(
        site.script(
            """
            import disttrack as wandb
            wandb.init()
            print(wandb.run.name)
            """
        )
    )
    (run,) = site.ls()
    assert run["name"] == output.split()[-1]
    assert run["name"].count("-") == 2


def test_manual_the_runs_id_as_its_name(site: Site) -> None:
    site.python(
        site.script(
            """
            import disttrack as wandb
            wandb.init()
            wandb.run.name = wandb.run.id
            wandb.run.save()
            """
        )
    )
    (run,) = site.ls()
    assert run["name"] == run["id"]


def test_manual_offline_with_dryrun_and_a_key(site: Site) -> None:
    key = "0123456789abcdef0123456789abcdef01234567"
    site.python(
        site.script(
            f"""
            import os
            import disttrack as wandb
            os.environ["WANDB_API_KEY"] = "{key}"
            os.environ["WANDB_MODE"] = "dryrun"
            wandb.init(config={{"lr": 0.1}})
            assert wandb.run.settings.mode == "offline"
            wandb.log({{"loss": 1.0}})
            """
        )
    )
    run = site.only_run()
    assert (run["state"], run["summary"], run["config"]) == ("finished", {"loss": 1.0}, {"lr": 0.1})
    holding = [path for path in site.directory.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
    assert [path.name for path in holding] == ["train.py"]
