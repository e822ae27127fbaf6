"""What ranks print reaches their terminal as ever, and `disttrack logs`."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import Any

import pytest

import disttrack
from tests.road.site import Site
from tests.road.test_secrets import stored_bytes


def lines(site: Site, run_id: str, *arguments: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(site.cli("logs", run_id, "--json", *arguments))
    return found


def test_what_is_printed_is_kept_and_printed_all_the_same(site: Site) -> None:
    script = site.script(
        """
        import logging, sys, warnings
        logging.basicConfig(level="INFO", format="%(message)s")
        import disttrack
        run = disttrack.init(project="p", id="a")
        print("hello", flush=True)
        print("to stderr", file=sys.stderr)
        logging.info("through logging")
        for state in range(100):
            print(f"\\r{state}%", end="", file=sys.stderr)
        print(file=sys.stderr)
        print("\\x1b[31mred\\x1b[0m")
        run.log({"loss": 1})
        raise RuntimeError("no luck")
        """
    )
    output = site.python(script, code=1)
    assert "hello\n" in output
    assert "98%\n99%\n" in output
    assert [line["text"] for line in lines(site, "a", "--stream", "stdout")] == ["hello", "\x1b[31mred\x1b[0m"]
    errors = [line["text"] for line in lines(site, "a", "--stream", "stderr")]
    assert errors[:3] == ["to stderr", "through logging", "99%"]
    assert errors[-1] == "RuntimeError: no luck"
    assert site.cli("logs", "a", "--stream", "stdout") == "hello\nred\n"
    assert site.cli("logs", "a", "--tail", 1) == "RuntimeError: no luck\n"
    with disttrack.Api(site.directory) as api:
        run = api.run("a")
        assert [line.text for line in run.console(stream="stdout", tail=1)] == ["\x1b[31mred\x1b[0m"]
        assert run.receipt.logged == 1
        with pytest.raises(disttrack.errors.UsageError):
            run.console(tail=-1)


@pytest.mark.real(timeout_s=120)
def test_each_rank_has_its_own_console(site: Site) -> None:
    script = site.script(
        """
        import disttrack
        run = disttrack.init(project="p", id="a")
        print(f"I am {run.rank}")
        run.log({"loss": 1})
        """
    )
    site.torchrun(2, script)
    assert sorted(site.cli("logs", "a").splitlines()) == ["0| I am 0", "1| I am 1"]
    assert [line["text"] for line in lines(site, "a", "--rank", 1)] == ["I am 1"]


def test_of_two_runs_each_has_what_was_printed_while_it_was_open(site: Site) -> None:
    site.python(
        site.script(
            """
            import disttrack
            print("before")
            with disttrack.init(project="p", id="a"):
                print("in a")
            print("between")
            with disttrack.init(project="p", id="b"):
                print("in b")
            print("after")
            """
        )
    )
    assert [[line["text"] for line in lines(site, name)] for name in "ab"] == [["in a"], ["in b"]]


def test_nothing_is_kept_where_nothing_is_to_be(site: Site) -> None:
    script = site.script("import disttrack\nwith disttrack.init(project='p', id='a'):\n    print('hello')\n")
    assert site.python(script, env={"DISTTRACK_CONSOLE": "off"}) == "hello\n"
    assert lines(site, "a") == []


def test_forked_children_print_on_and_those_that_log_have_it_kept(site: Site) -> None:
    script = site.script(
        """
        import os, sys
        import disttrack
        run = disttrack.init(project="p", id="a")
        print("parent", flush=True)
        for child in ("silent", "logging"):
            pid = os.fork()
            if pid == 0:
                print(f"{child} before", flush=True)
                if child == "logging":
                    run.log({"x": 1})
                    print(f"{child} after", flush=True)
                    run.finish()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        print("parent again")
        run.log({"loss": 1})
        """
    )
    output = site.python(script)
    assert output.splitlines() == ["parent", "silent before", "logging before", "logging after", "parent again"]
    assert sorted(line["text"] for line in lines(site, "a")) == ["logging after", "parent", "parent again"]


SECRETS = """
import os, sys
import disttrack
run = disttrack.init(
    project="p", id="a", config={"api_key": "CANARY-1", "hub": {"token": "CANARY-2"}, "url": "https://u:CANARY-3@h/"}
)
print("password=CANARY-4", "Authorization: Bearer CANARY5abcdefghijklmnop123")
print("https://me:CANARY-6@example.org/x", file=sys.stderr)
run.config.update({"args": ["--secret", "CANARY-7"]})
run.log({"loss": 1.0})
raise RuntimeError("cannot reach https://u:CANARY-8@host/ with --token CANARY-9")
"""


@pytest.mark.real(timeout_s=90)
def test_twelve_planted_secrets_are_nowhere_in_the_store(site: Site) -> None:
    """In argv, the environment, config keys, what is printed, a git remote and a traceback."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    script = site.script(SECRETS)
    for command in (
        ["init", "-q", "-b", "trunk"],
        ["add", script.name],
        [*identity, "commit", "-q", "-m", "first"],
        ["remote", "add", "origin", "https://user:CANARY-10@example.org/x.git"],
    ):
        subprocess.run(["git", *command], cwd=site.directory, check=True, env={**os.environ, "HOME": "/nonexistent"})
    environ = {"NCCL_AUTH_TOKEN": "CANARY-11", "DISTTRACK_JOB_KEY": "CANARY-12-0123456789"}
    site.python(script, "--password", "CANARY-13", "--url=https://u:CANARY-14@host/", env=environ, code=1)
    run = site.show("a")
    with disttrack.Api(site.directory) as api:
        about = api.run("a").about
        printed = "\\n".join(line.text for line in api.run("a").console())
    assert about["source"]["remote"] == "https://example.org/x.git"
    assert about["program"]["argv"] == [str(script), "--password", "[redacted]", "--url=https://host/"]
    assert "NCCL_AUTH_TOKEN" in str(about["program"]["environment"])
    assert "password=[redacted]" in printed
    assert "Traceback" in printed
    assert run["config"]["api_key"] == "[redacted]"
    script.unlink()
    subprocess.run(["rm", "-rf", site.directory / ".git"], check=True)
    found = {name: re.findall(rb"CANARY.{0,3}", content) for name, content in stored_bytes(site.directory).items()}
    assert {name: where for name, where in found.items() if where} == {}
