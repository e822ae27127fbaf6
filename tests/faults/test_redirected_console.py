"""console="fd": what C writes just before it aborts is on the terminal and in the store, whoever is killed when."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import disttrack
from tests.road.site import Site, wait_until

#: Prints as C does, with write(2) and with stdio, and aborts: no interpreter has a say in it any more.
ABORTS = """
import ctypes, sys
import disttrack

run = disttrack.init(project="p", id=sys.argv[1])
print("from python", flush=True)
libc = ctypes.CDLL(None)
line = b"the last words\\n"
libc.write(1, line, len(line))
libc.abort()
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.end()


def aborting(site: Site, times: int, console: str) -> list[str]:
    """Run a script that aborts so often, four at a time; return the ids of the runs."""
    script = site.script(ABORTS)
    ids = [f"r{number}" for number in range(times)]
    for at in range(0, times, 4):
        started = [
            subprocess.Popen(
                [sys.executable, script, name],
                cwd=site.directory,
                env={**os.environ, "DISTTRACK_CONSOLE": console},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for name in ids[at : at + 4]
        ]
        for process in started:
            output, _ = process.communicate(timeout=300)
            assert process.returncode == -signal.SIGABRT
            assert output == "from python\nthe last words\n"
    return ids


def count(config: pytest.Config) -> int:
    """Return how often to abort: 100 times with --all or --soak, a few times in each run of the tests."""
    return 100 if config.getoption("run_soak") or config.getoption("run_long") else 8


@pytest.mark.real(timeout_s=180)
def test_a_line_written_by_c_before_an_abort_reaches_the_terminal_at_the_default_level(
    site: Site, pytestconfig: pytest.Config
) -> None:
    aborting(site, count(pytestconfig), "wrap")


@pytest.mark.real(timeout_s=180)
def test_a_line_written_by_c_before_an_abort_is_in_the_store_with_fd(site: Site, pytestconfig: pytest.Config) -> None:
    for name in aborting(site, count(pytestconfig), "fd"):
        with disttrack.Api(site.directory) as api:
            wait_until(lambda: len(api.runs()) > 0, "a run")
            wait_until(lambda: _texts(api, name) == ["from python", "the last words"], name)  # noqa: B023


def _texts(api: disttrack.Api, name: str) -> list[str]:
    return [line.text for line in api.run(name).console(stream="stdout")]


PRINTS = """
import os, sys, time
import disttrack

lines, pause_s = int(sys.argv[1]), float(sys.argv[2])
run = disttrack.init(project="p", id="a")
for number in range(lines):
    os.write(1, b"line %d\\n" % number)
    time.sleep(pause_s)
run.log({"loss": 1.0})
run.finish()
print("after", flush=True)
"""


def consoles(site: Site, name: str = "") -> list[Path]:
    """Return the places of ranks that print into files, or the files of a name in them."""
    return list(site.directory.glob(f"journals/*/consoles/*/{name}".rstrip("/")))  # journals may be removed meanwhile


def tailer_of(site: Site) -> int:
    for path in consoles(site, "tailer"):
        try:
            return int(path.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            pass  # being replaced
    return 0


@pytest.mark.real(timeout_s=180)
def test_killed_tailers_lose_and_repeat_nothing_on_the_terminal_and_in_the_store(site: Site) -> None:
    lines = 4_000
    with subprocess.Popen(
        [sys.executable, site.script(PRINTS), str(lines), "0.002"],
        cwd=site.directory,
        env={**os.environ, "DISTTRACK_CONSOLE": "fd"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        printed: list[str] = []

        def read() -> None:
            assert process.stdout is not None
            printed.extend(process.stdout)

        reader = threading.Thread(target=read)
        reader.start()
        killed: set[int] = set()
        while process.poll() is None and len(killed) < 8:
            pid = tailer_of(site)
            seen = len(printed)
            if pid and pid not in killed:
                wait_until(lambda: len(printed) > seen + 100 or process.poll() is not None, "it copies")  # noqa: B023
                try:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
                except ProcessLookupError:
                    pass  # it has done its work
        assert process.wait(300) == 0
        reader.join()
    assert len(killed) >= 3
    assert printed == [f"line {number}\n" for number in range(lines)] + ["after\n"]
    wait_until(lambda: not consoles(site), "the last tailer has gone")
    kept = [line["text"] for line in json.loads(site.cli("logs", "a", "--json"))]
    assert kept == [f"line {number}" for number in range(lines)]


ENDS = """
import glob, os, signal, sys, time
import disttrack

run = disttrack.init(project="p", id="a")
run.log({"loss": 1.0})
for number in range(10):
    os.write(1, b"line %d\\n" % number)
while not (tailers := glob.glob("journals/*/consoles/*/tailer")):
    time.sleep(0.01)
os.kill(int(open(tailers[0]).read().split()[0]), getattr(signal, sys.argv[1]))
time.sleep(0.5)  # the thread that looks after tailers has seen that one is killed, and is starting another
run.finish()
"""


def slowly(strace: str, call: str, delay_s: float) -> tuple[str, ...]:
    """Return what a command is put behind to have each such system call take so long, in its children too."""
    inject = f"{call}:delay_exit={int(1e6 * delay_s)}"
    return (strace, "-f", "-qq", "-o", "/dev/null", f"--trace={call}", f"--inject={inject}")


def check_kept_once(site: Site, output: str) -> None:
    expected = [f"line {number}" for number in range(10)]
    assert output.splitlines() == expected
    wait_until(lambda: not consoles(site), "the tailers have gone")
    assert site.cli("logs", "a", "--stream", "stdout").splitlines() == expected


@pytest.mark.long(timeout_s=120)
def test_two_threads_that_see_a_tailer_killed_do_not_have_all_journaled_twice(
    site: Site, require_program: Callable[[str], str]
) -> None:
    starts_slowly = slowly(require_program("strace"), "pipe2", 1.0)
    script = site.script(ENDS)
    check_kept_once(site, site.run(*starts_slowly, sys.executable, script, "SIGKILL", env={"DISTTRACK_CONSOLE": "fd"}))


@pytest.mark.long(timeout_s=120)
def test_a_rank_that_meets_its_tailer_going_does_not_have_all_journaled_twice(
    site: Site, require_program: Callable[[str], str]
) -> None:
    goes_slowly = slowly(require_program("strace"), "unlink,unlinkat", 0.5)
    rank = site.start(*goes_slowly, sys.executable, site.script(ENDS), "SIGSTOP", env={"DISTTRACK_CONSOLE": "fd"})
    wait_until(lambda: bool(consoles(site, "over")), "the rank ends")
    tailer = psutil.Process(tailer_of(site))
    pid = next(each.pid for each in psutil.Process(rank.pid).children() if "train.py" in " ".join(each.cmdline()))
    os.kill(pid, signal.SIGSTOP)
    tailer.resume()
    wait_until(lambda: bool(consoles(site, "journaled")), "all is journaled")
    wait_until(lambda: not consoles(site, "journaled"), "it is removing its files")
    os.kill(pid, signal.SIGCONT)
    check_kept_once(site, rank.communicate(timeout=300)[0])


def test_what_children_print_is_kept_in_order_and_what_is_printed_afterwards_follows(site: Site) -> None:
    script = site.script(
        """
        import subprocess, sys, disttrack
        with disttrack.init(project="p", id="a") as run:
            for number in range(5):
                print("python", number, flush=True)
                subprocess.run(["echo", f"child {number}"], check=True)
                print("stderr", number, file=sys.stderr)
            run.log({"loss": 1})
        print("after")
        """
    )
    expected = [text for number in range(5) for text in (f"python {number}", f"child {number}", f"stderr {number}")]
    output = site.python(script, env={"DISTTRACK_CONSOLE": "fd"})
    assert output.splitlines() == [*expected, "after"]
    assert site.cli("logs", "a").splitlines() == expected
    wait_until(lambda: not consoles(site), "the tailer has gone")


def test_a_child_that_outlives_its_parent_is_copied_on_to_its_end(site: Site) -> None:
    script = site.script(
        """
        import subprocess, disttrack
        run = disttrack.init(project="p", id="a")
        subprocess.Popen(["sh", "-c", "read go < go; echo the child"])
        run.log({"loss": 1})
        run.finish()
        open("finished", "w").close()
        """
    )
    os.mkfifo(site.directory / "go")
    process = site.start(sys.executable, script, env={"DISTTRACK_CONSOLE": "fd"})
    wait_until((site.directory / "finished").exists, "the run has ended")
    (site.directory / "go").write_text("go\n")
    output, _ = process.communicate(timeout=300)
    assert output == "the child\n"


def test_on_a_terminal_lines_of_c_are_written_as_they_end(site: Site) -> None:
    script = site.script(
        """
        import ctypes, disttrack
        run = disttrack.init(project="p", id="a")
        libc = ctypes.CDLL(None)
        libc.printf(b"by stdio\\n")
        libc.abort()
        """
    )
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, script],
        cwd=site.directory,
        env={**os.environ, "DISTTRACK_CONSOLE": "fd"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    printed = b""
    try:
        while data := os.read(ours, 1024):
            printed += data
    except OSError:
        pass  # nobody has the terminal any more
    assert process.wait(300) == -signal.SIGABRT
    assert printed == b"by stdio\r\n"
    os.close(ours)


def test_where_it_cannot_be_done_the_streams_are_kept(site: Site, tmp_path: Path) -> None:
    (tmp_path / "journals" / f"disttrack-{os.getuid()}").mkdir(parents=True, mode=0o700)
    (tmp_path / "journals").chmod(0o700)
    (tmp_path / "journals" / f"disttrack-{os.getuid()}" / "consoles").write_text("a file")
    script = site.script("import disttrack\nwith disttrack.init(project='p', id='a'):\n    print('hello')\n")
    output = site.python(script, env={"DISTTRACK_CONSOLE": "fd"})
    assert "console='fd' is not possible here" in output
    assert "hello\n" in output
    assert [line["text"] for line in json.loads(site.cli("logs", "a", "--stream", "stdout", "--json"))] == ["hello"]
