"""P13: fork, spawn, exec, os._exit, signals, workers: the parent's records are kept, a child's stored, nothing hangs.

What tests/road/test_children.py shows is not repeated here. A script that hangs fails by its limit.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.road.site import Site

pytestmark = pytest.mark.real(timeout_s=120)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.end()


# Children


def test_children_of_children_log_for_the_rank_they_come_from(site: Site) -> None:
    script = site.script(
        """
        import multiprocessing, os, disttrack
        def work(methods):
            disttrack.log({"depth%d" % len(methods): 1})
            start(methods)
        def start(methods):
            if methods and methods[0] == "os.fork":
                pid = os.fork()
                if pid == 0:
                    work(methods[1:])
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
            elif methods:
                child = multiprocessing.get_context(methods[0]).Process(target=work, args=(methods[1:],))
                child.start(); child.join(); assert child.exitcode == 0
        if __name__ == "__main__":
            with disttrack.init(project="p") as run:
                start(["os.fork", "os.fork"])
                start(["fork", "spawn", "os.fork"])
                run.log({"parent": 1})
        """
    )
    site.python(script)
    run = site.only_run()
    assert (run["state"], run["ranks_joined"], run["ranks"][0]["rows"]) == ("finished", 1, 6)
    assert sorted(row["key"] for row in site.export(run["id"])) == [
        "depth0", "depth0", "depth1", "depth1", "depth2", "parent",
    ]  # fmt: skip


def test_fifty_forks_between_rows_lose_none_and_leave_no_descriptor_in_a_child(site: Site) -> None:
    """A child has none of its parent's sockets to use: what it inherited it neither uses nor closes."""
    script = site.script(
        """
        import os, disttrack
        run = disttrack.init(project="p")
        run._recorder.sender.welcomed.wait()
        for number in range(50):
            run.log({"parent": number}, step=number)
            pid = os.fork()
            if pid == 0:
                disttrack.log({"child": number}, step=number)
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        receipt = run.finish()
        assert receipt.logged == receipt.stored == 50, receipt
        """
    )
    site.python(script)
    run = site.only_run()
    assert (run["state"], run["ranks_joined"]) == ("finished", 1)
    assert site.steps(run["id"], "parent") == {0: list(range(50))}
    assert sorted(site.steps(run["id"], "child")[0]) == list(range(50))


def test_a_fork_while_other_threads_are_inside_log_leaves_the_child_able_to_log(site: Site) -> None:
    script = site.script(
        """
        import os, threading, disttrack
        run = disttrack.init(project="p")
        stop = threading.Event()
        def hammer(number):
            while not stop.is_set(): run.log({"thread": number, "text": "x" * 1000})
        threads = [threading.Thread(target=hammer, args=(number,)) for number in range(4)]
        for thread in threads: thread.start()
        for number in range(30):
            pid = os.fork()
            if pid == 0:
                run.log({"child": number}, step=number)
                run.summary["seen"] = number
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        stop.set()
        for thread in threads: thread.join()
        receipt = run.finish()
        assert receipt.logged == receipt.stored and not receipt.dropped, receipt
        """
    )
    site.python(script)
    run = site.only_run()
    assert sorted(site.steps(run["id"], "child")[0]) == list(range(30))


@pytest.mark.parametrize("end", ["os._exit(3)", "os.abort()", "ctypes.string_at(0)", "os.kill(os.getpid(), 9)"])
def test_a_child_that_dies_takes_no_row_of_its_own_or_its_parents_with_it(site: Site, end: str) -> None:
    script = site.script(
        f"""
        import ctypes, os, disttrack
        run = disttrack.init(project="p")
        run.log({{"parent": 0}}, step=0); run._recorder.sender.welcomed.wait()
        pid = os.fork()
        if pid == 0:
            for step in range(100): disttrack.log({{"child": step}}, step=step)
            {end}
        assert os.waitpid(pid, 0)[1] != 0
        run.log({{"parent": 1}}, step=1)
        receipt = run.finish()
        assert receipt.logged == receipt.stored == 2, receipt
        """
    )
    site.python(script)
    run = site.only_run()
    assert (run["state"], run["ranks_joined"]) == ("finished", 1)
    assert site.steps(run["id"], "parent") == {0: [0, 1]}
    assert site.steps(run["id"], "child") == {0: list(range(100))}


def test_a_pool_of_worker_processes_logs_for_its_rank(site: Site) -> None:
    script = site.script(
        """
        import concurrent.futures, multiprocessing, disttrack
        def work(number):
            disttrack.log({"worked": number}, step=number)
            return number
        if __name__ == "__main__":
            with disttrack.init(project="p") as run:
                for method in ("fork", "spawn", "forkserver"):
                    context = multiprocessing.get_context(method)
                    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
                        assert list(pool.map(work, range(20))) == list(range(20))
                run.log({"parent": 1})
        """
    )
    site.python(script)
    run = site.only_run()
    assert (run["state"], run["ranks_joined"], run["ranks"][0]["rows"]) == ("finished", 1, 61)
    assert sorted(site.steps(run["id"], "worked")[0]) == sorted(3 * list(range(20)))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_persistent_data_loader_workers_log_through_all_epochs(site: Site, method: str) -> None:
    pytest.importorskip("torch")
    script = site.script(
        f"""
        import torch, disttrack
        from torch.utils.data import DataLoader, Dataset
        class Items(Dataset):
            def __len__(self): return 10
            def __getitem__(self, index):
                disttrack.log({{"loaded": index}})
                return torch.zeros(1)
        if __name__ == "__main__":
            with disttrack.init(project="p") as run:
                loader = DataLoader(Items(), num_workers=2, multiprocessing_context="{method}", persistent_workers=True)
                for epoch in range(3):
                    for _ in loader: run.log({{"batch": epoch}})
        """
    )
    site.python(script)
    run = site.only_run()
    assert (run["state"], run["ranks_joined"], run["ranks"][0]["rows"]) == ("finished", 1, 60)


def test_a_program_that_a_rank_starts_helps_where_it_only_logs_and_is_a_run_where_it_calls_init(site: Site) -> None:
    script = site.script(
        """
        import subprocess, sys, disttrack
        with disttrack.init(project="p", name="parent", group="g") as run:
            run.log({"parent": 1})
            subprocess.run([sys.executable, "-c", "import disttrack; disttrack.log({'helper': 1})"], check=True)
            own = "import disttrack; disttrack.init(project='p', name='own').log({'own': 1})"
            subprocess.run([sys.executable, "-c", own], check=True)
        """
    )
    site.python(script)
    runs = {run["name"]: site.show(run["id"]) for run in site.ls()}
    assert {name: (run["state"], run["group"]) for name, run in runs.items()} == {
        "parent": ("finished", "g"),
        "own": ("finished", "g"),
    }
    assert {row["key"] for row in site.export(runs["parent"]["id"])} == {"parent", "helper"}


# Ends


ENDS = {
    "os._exit(0)": (0, "crashed"),
    "os._exit(3)": (3, "crashed"),
    "os.abort()": (-signal.SIGABRT, "crashed"),
    "ctypes.string_at(0)": (-signal.SIGSEGV, "crashed"),
    "threading.Thread(target=sys.exit, args=(1,)).start()": (0, "finished"),
    "os.kill(os.getpid(), signal.SIGTERM)": (-signal.SIGTERM, "crashed"),
    "os.kill(os.getpid(), signal.SIGINT)": (-signal.SIGINT, "failed"),
}


@pytest.mark.parametrize("end", ENDS)
def test_no_row_is_lost_however_a_process_ends(site: Site, end: str) -> None:
    code, state = ENDS[end]
    script = site.script(
        f"""
        import ctypes, os, signal, sys, threading, disttrack
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored in the background
        run = disttrack.init(project="p")
        for step in range(1000): run.log({{"a": step}}, step=step)
        {end}
        """
    )
    site.python(script, code=code)
    run = site.only_run()
    assert site.steps(run["id"], "a") == {0: list(range(1000))}
    assert run["state"] == state


def test_an_interpreter_ends_while_daemon_threads_log(site: Site) -> None:
    script = site.script(
        """
        import threading, disttrack
        run = disttrack.init(project="p")
        run._recorder.sender.welcomed.wait()
        def hammer(number):
            while True: run.log({"thread": number})
        threads = [threading.Thread(target=hammer, args=(number,), daemon=True) for number in range(4)]
        for thread in threads: thread.start()
        for step in range(1000): run.log({"main": step}, step=step)
        """
    )
    output = site.python(script, env={"DISTTRACK_FINISH_TIMEOUT_S": "inf"})  # a thread that hinders it hangs for ever
    assert "Traceback" not in output, output
    assert "Fatal" not in output, output
    run = site.only_run()
    assert run["state"] == "finished"
    assert site.steps(run["id"], "main") == {0: list(range(1000))}


def test_a_program_executed_over_a_rank_inherits_nothing_open_and_may_begin_anew(site: Site) -> None:
    second = site.script(
        """
        import os, disttrack
        fds = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
        held = [os.readlink(fd) for fd in fds if os.path.islink(fd) and int(os.path.basename(fd)) > 2]
        assert not [path for path in held if ".dtj" in path or path.startswith("socket:")], held
        with disttrack.init(project="p", name="second") as run: run.log({"second": 1})
        """,
        "second.py",
    )
    script = site.script(
        f"""
        import os, sys, disttrack
        run = disttrack.init(project="p", name="first")
        run._recorder.sender.welcomed.wait()
        for step in range(100): run.log({{"first": step}}, step=step)
        os.execv(sys.executable, [sys.executable, {str(second)!r}])
        """
    )
    site.python(script)
    run = site.only_run()  # one process, one run: what was executed over it is its next attempt
    assert (run["state"], run["attempt"], run["ranks_joined"]) == ("finished", 1, 1)
    rows = site.export(run["id"], "--superseded")
    assert [row["step"] for row in rows if row["key"] == "first"] == list(range(100))
    assert [row["step"] for row in rows if row["key"] == "second"] == [0]


def test_a_rank_that_executes_a_program_over_itself_is_the_next_attempt_of_its_run(site: Site) -> None:
    script = site.script(
        """
        import os, sys, disttrack
        run = disttrack.init(project="p")
        run._recorder.sender.welcomed.wait()
        run.log({"life": len(sys.argv)})
        if len(sys.argv) == 1: os.execv(sys.executable, [sys.executable, *sys.argv, "again"])
        """
    )
    site.torchrun(1, script)
    run = site.only_run()
    assert (run["state"], run["attempt"], run["ranks_joined"]) == ("finished", 1, 1)
    assert len(site.export(run["id"], "--superseded")) == 2


# Signals, threads, finalizers


def test_a_rank_has_the_signal_handlers_it_had_without_the_tracker(site: Site) -> None:
    script = site.script(
        """
        import signal, disttrack
        def handlers(): return {number: signal.getsignal(number) for number in signal.valid_signals()}
        before, mask, wakeup = handlers(), signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.set_wakeup_fd(-1)
        run = disttrack.init(project="p")
        run._recorder.sender.welcomed.wait()
        run.log({"a": 1})
        assert handlers() == before
        run.finish()
        assert handlers() == before and signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
        assert signal.set_wakeup_fd(-1) == wakeup
        """
    )
    site.python(script)


def test_rows_from_signal_handlers_finalizers_values_and_threads_are_all_kept(site: Site) -> None:
    script = site.script(
        """
        import gc, itertools, signal, threading, disttrack
        run = disttrack.init(project="p")
        numbers = itertools.count()
        def on_tick(number, frame):
            step = next(numbers)
            run.log({"signal": step}, step=step)
        class Leaving:
            def __init__(self, number): self.number, self.me = number, self
            def __del__(self): run.log({"finalizer": self.number}, step=self.number)
        class Talking(dict):
            def items(self):
                run.log({"inner": 1})
                return super().items()
        signal.signal(signal.SIGALRM, on_tick)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        def hammer(number):
            for step in range(2000): run.log({f"thread{number}": step}, step=step)
        threads = [threading.Thread(target=hammer, args=(number,)) for number in range(4)]
        for thread in threads: thread.start()
        for step in range(2000):
            run.log({"main": step, "text": "x"}, step=step)
            Leaving(step)
            if step % 100 == 0: run.log({"outer": Talking(a=1)})
        gc.collect()
        for thread in threads: thread.join()
        signal.setitimer(signal.ITIMER_REAL, 0)
        receipt, ticks = run.finish(), next(numbers)
        assert receipt.logged == receipt.stored == 5 * 2000 + 2000 + 20 + 20 + ticks, (receipt, ticks)
        assert ticks > 20, ticks
        open("ticks", "w").write(str(ticks))
        """
    )
    site.python(script)
    run_id = site.only_run()["id"]
    ticks = int((site.directory / "ticks").read_text())
    wanted = {"main": 2000, "thread0": 2000, "thread3": 2000, "finalizer": 2000, "signal": ticks}
    for key, count in wanted.items():
        assert sorted(site.steps(run_id, key)[0]) == list(range(count)), key
    assert len(site.steps(run_id, "inner")[0]) == 20


def test_a_signal_handler_may_finish_the_run_inside_log(site: Site) -> None:
    script = site.script(
        """
        import os, signal, disttrack
        run = disttrack.init(project="p")
        def on_term(number, frame):
            receipt = run.finish(exit_code=143)
            assert receipt.logged == receipt.stored > 0, receipt
            os._exit(143)
        signal.signal(signal.SIGTERM, on_term)
        signal.signal(signal.SIGALRM, lambda number, frame: os.kill(os.getpid(), signal.SIGTERM))
        step = 0
        while True:
            if step == 1000: signal.setitimer(signal.ITIMER_REAL, 0.2)
            run.log({"a": step}, step=step)
            step += 1
        """
    )
    site.python(script, code=143)
    run = site.only_run()
    steps = site.steps(run["id"], "a")[0]
    assert steps == list(range(len(steps)))
    assert run["state"] == "failed"


def test_init_again_in_a_thread_and_after_finish_is_what_the_docs_say(site: Site) -> None:
    script = site.script(
        """
        import threading, disttrack
        first = disttrack.init(project="p", name="first")
        assert disttrack.init(project="p", name="ignored") is first
        found = []
        thread = threading.Thread(target=lambda: found.append(disttrack.init(project="p")))
        thread.start(); thread.join()
        assert found == [first]
        first.log({"a": 1})
        assert first.finish() is first.finish()
        first.log({"a": 2})
        def in_a_thread():
            with disttrack.init(project="p", name="second") as second: second.log({"a": 3})
            found.append(second)
        thread = threading.Thread(target=in_a_thread)
        thread.start(); thread.join()
        assert found[1] is not first and disttrack.run is found[1]
        """
    )
    output = site.python(script)
    said = re.findall("a run is open in this process already; init.. returns it and ignores ([a-z, ]+)", output)
    assert said == ["project, name", "project"], output
    runs = {run["name"]: site.show(run["id"]) for run in site.ls()}
    assert {name: (run["state"], run["ranks"][0]["rows"]) for name, run in runs.items()} == {
        "first": ("finished", 1),
        "second": ("finished", 1),
    }


def test_init_in_many_threads_at_once_opens_one_run(site: Site) -> None:
    script = site.script(
        """
        import threading, disttrack
        barrier, found = threading.Barrier(8), []
        def begin():
            barrier.wait()
            found.append(disttrack.init(project="p"))
        threads = [threading.Thread(target=begin) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert len(set(map(id, found))) == 1, found
        found[0].log({"a": 1})
        """
    )
    site.python(script)
    assert site.only_run()["state"] == "finished"


def test_a_rank_whose_interpreter_is_held_by_c_code_is_not_taken_for_lost(site: Site) -> None:
    """Whether a process lives is asked of the kernel, so 6 s say what 30 minutes would: no rank has to answer.

    The writer gives an unanswered rank up, if at all, by SILENT_S of its own clock, and takes that back.
    """
    script = site.script(
        """
        import ctypes, disttrack
        with disttrack.init(project="p") as run:
            run._recorder.sender.welcomed.wait()
            run.log({"a": 0}, step=0)
            ctypes.PyDLL(None).sleep(6)  # keeps the interpreter to itself
            run.log({"a": 1}, step=1)
        """
    )
    site.python(script)
    run = site.only_run()
    assert (run["state"], run["attempt"], run["ranks"][0]["state"]) == ("finished", 0, "finished")
    assert site.steps(run["id"], "a") == {0: [0, 1]}
