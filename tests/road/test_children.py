"""Processes that a rank starts: their rows are kept, the parent's are not harmed, and nothing hangs (P13)."""

import pytest

from tests.road.site import Site


@pytest.mark.real(timeout_s=120)
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_that_log_become_helpers_of_their_parents_rank(site: Site, method: str) -> None:
    script = site.script(
        f"""
        import multiprocessing, disttrack
        def work(number):
            for step in range(50):
                disttrack.log({{f"child{{number}}": step}}, step=step)
        if __name__ == "__main__":
            context = multiprocessing.get_context("{method}")
            run = disttrack.init(project="p")
            children = [context.Process(target=work, args=(number,)) for number in range(2)]
            for child in children: child.start()
            for step in range(50): run.log({{"parent": step}}, step=step)
            for child in children: child.join()
            assert all(child.exitcode == 0 for child in children)
            receipt = run.finish()
            assert receipt.logged == receipt.stored == 50, receipt
        """
    )
    site.python(script)
    run = site.only_run()
    assert (run["state"], run["ranks_joined"], run["ranks"][0]["rows"]) == ("finished", 1, 150)
    for key in ("parent", "child0", "child1"):
        assert site.steps(run["id"], key) == {0: list(range(50))}


def test_a_run_handed_to_a_child_logs_there(site: Site) -> None:
    script = site.script(
        """
        import multiprocessing, disttrack
        def work(run):
            run.log({"child": 1})
            assert run.finish().stored == 1
        if __name__ == "__main__":
            with disttrack.init(project="p") as run:
                child = multiprocessing.get_context("spawn").Process(target=work, args=(run,))
                child.start(); child.join()
                assert child.exitcode == 0
                run.log({"parent": 1})
        """
    )
    site.python(script)
    assert {row["key"] for row in site.export(site.only_run()["id"])} == {"child", "parent"}


def test_a_forked_child_that_ends_or_finishes_leaves_its_parents_run_open(site: Site) -> None:
    script = site.script(
        """
        import os, sys, disttrack
        run = disttrack.init(project="p")
        run.log({"a": 1}); run.id
        for way in ("exit", "finish", "_exit", "log"):
            pid = os.fork()
            if pid == 0:
                if way == "finish": disttrack.finish()
                if way == "log": disttrack.log({"child": 1})
                if way == "_exit": os._exit(0)
                sys.exit(0)
            assert os.waitpid(pid, 0)[1] == 0, way
            run.log({"a": 2})
        receipt = run.finish()
        assert receipt.logged == receipt.stored == 5, receipt
        """
    )
    site.python(script)
    run = site.only_run()
    assert (run["state"], run["ranks"][0]["rows"]) == ("finished", 6)


@pytest.mark.real(timeout_s=90)
def test_data_loader_workers_are_no_ranks_and_may_log(site: Site) -> None:
    script = site.script(
        """
        import torch, disttrack
        from torch.utils.data import DataLoader, Dataset
        class Items(Dataset):
            def __len__(self): return 20
            def __getitem__(self, index):
                disttrack.init(project="p").log({"loaded": index})
                return torch.zeros(1)
        if __name__ == "__main__":
            for method in ("fork", "spawn"):
                with disttrack.init(project="p", name=method) as run:
                    for _ in DataLoader(Items(), num_workers=2, multiprocessing_context=method): run.log({"batch": 1})
        """
    )
    site.run("env", "RANK=0", "WORLD_SIZE=1", "LOCAL_RANK=0", "TORCHELASTIC_RUN_ID=x", _python(), script)
    runs = {run["name"]: site.show(run["id"]) for run in site.ls()}
    assert set(runs) == {"fork", "spawn"}
    for run in runs.values():
        assert (run["state"], run["ranks_joined"], run["ranks"][0]["rows"]) == ("finished", 1, 40)


def test_a_child_that_opens_a_run_of_its_own_gets_one_in_its_parents_group(site: Site) -> None:
    script = site.script(
        """
        import multiprocessing, disttrack
        def work():
            with disttrack.init(project="p", name="child") as run: run.log({"a": 1})
        if __name__ == "__main__":
            with disttrack.init(project="p", name="parent", group="family") as run:
                run.log({"a": 1})
                child = multiprocessing.get_context("spawn").Process(target=work)
                child.start(); child.join()
        """
    )
    site.python(script)
    assert {(run["name"], run["group"], run["state"]) for run in site.ls()} == {
        ("parent", "family", "finished"),
        ("child", "family", "finished"),
    }


def _python() -> str:
    import sys

    return sys.executable
