"""Who gets an answer from `disttrack ui`, over real sockets: only who has its token, by its name, from its page."""

from __future__ import annotations

import html
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from disttrack.server.app import API
from disttrack.server.instances import Instance, new_instance, note, running
from disttrack.server.openapi import PATHS
from disttrack.settings import ROOT_NAME
from tests.index.logs import finished_run
from tests.road.site import wait_until
from tests.server.ui import Ui, serving

pytestmark = pytest.mark.real(timeout_s=60)  # the first test starts the server

ASKED = [
    "/",
    "/p/demo",
    "/static/app.js",
    "/api/about",
    "/api/runs",
    "/api/run?run=run1",
    "/api/events",
    "/blob?x",
    "/no",
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, isolated_session: None) -> Path:
    directory = tmp_path_factory.mktemp("access")
    finished_run(directory / ROOT_NAME, [(step, {"loss": 1.0}) for step in range(3)], name="<b>&'\"")
    return directory


@pytest.fixture(scope="module")
def ui(directory: Path) -> Iterator[Ui]:
    with serving(directory) as ui:
        yield ui


@pytest.fixture
def stranger(ui: Ui) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=ui.base, timeout=300, trust_env=False) as client:
        yield client


@pytest.fixture
def browser(ui: Ui, stranger: httpx.Client) -> httpx.Client:
    """Returns a client that opened the printed line, as a browser does: it has the cookie, and no token."""
    stranger.get(ui.url)
    return stranger


def kind(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["kind"])


def raw(ui: Ui, request: str) -> bytes:
    """Returns the answer to bytes that no client would send."""
    host, _, port = ui.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=300) as connection:
        connection.sendall(request.encode())
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    return answer


@pytest.mark.parametrize("path", ASKED)
def test_nothing_answers_without_the_token(stranger: httpx.Client, path: str) -> None:
    assert stranger.get(path).status_code == 401
    for wrong in ("x", "é"):
        assert stranger.get(path, headers=[(b"Authorization", f"Bearer {wrong}".encode())]).status_code == 401
    assert stranger.get(path, headers={"Cookie": f"disttrack-{stranger.base_url.port}=x"}).status_code == 401
    assert stranger.post(path, json={}).status_code in (401, 403)


def test_the_printed_line_lets_a_browser_in_and_leaves_no_token_behind(ui: Ui, stranger: httpx.Client) -> None:
    answer = stranger.get(f"/p/demo?f=loss%3C1&token={ui.token}&g=x")
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert ui.token not in cookie + answer.text
    assert 'url=/p/demo?f=loss%3C1&amp;g=x"' in answer.text
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert stranger.get("/api/about").status_code == 200  # by the cookie
    assert stranger.get(f"/?token={ui.token}x", headers={"Cookie": ""}).status_code == 401
    assert stranger.get(f"/api/about?token={ui.token}", headers={"Cookie": ""}).status_code == 401  # pages only


def test_the_line_leads_to_no_other_server(ui: Ui) -> None:
    answer = raw(ui, f"GET //evil.example/x?token={ui.token} HTTP/1.1\r\nHost: {ui.host}\r\nConnection: close\r\n\r\n")
    assert re.search(rb'url=(\S+)"', answer)[1] == b"/evil.example/x"  # type: ignore[index]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", [*ASKED, "/api/edit", "/api/delete", "/api/hello?challenge=" + "0" * 32])
def test_no_other_host_is_answered_by_any_method(ui: Ui, method: str, path: str) -> None:
    hosts = [
        "evil.example",
        f"evil.example:{ui.host.partition(':')[2]}",
        "127.0.0.1.evil.example",
        "localhost@evil",
        "",
        "[::",
    ]
    for host in hosts[: None if method in ("GET", "POST") else 1]:
        answer = ui.client.request(method, path, headers={"Host": host, "Origin": ui.base})
        assert answer.status_code in (400, 403), (host, answer.status_code)


def test_loopback_has_several_names_and_a_tunnel_another_port(ui: Ui) -> None:
    for host in ("localhost", "LOCALHOST:8000", "127.0.0.1:9", "[::1]:6017"):
        assert ui.client.get("/api/about", headers={"Host": host}).status_code == 200, host
    twice = f"GET /api/about HTTP/1.1\r\nHost: {ui.host}\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert raw(ui, twice).split()[1] in (b"400", b"403")


def test_only_the_page_itself_may_change_anything(ui: Ui, browser: httpx.Client) -> None:
    port = ui.host.partition(":")[2]
    edit = {"runs": ["demo/none"], "name": "x"}
    foreign = [
        None,
        "null",
        "http://evil.example",
        f"http://sub.localhost:{port}",
        f"https://127.0.0.1:{int(port) - 1}",
        "http://127.0.0.1",
        f"{ui.base}.evil.example",
        f"{ui.base}/",
    ]
    for path in ("/api/edit", "/api/delete", "/api/restore"):
        for origin in foreign:
            answer = browser.post(path, json=edit, headers={} if origin is None else {"Origin": origin})
            assert (answer.status_code, kind(answer)) == (403, "ForeignOrigin"), origin
        cross = {"Origin": ui.base, "Sec-Fetch-Site": "cross-site"}
        assert browser.post(path, json=edit, headers=cross).status_code == 403
        assert browser.post(path, json=edit, headers={"Origin": ui.base}).json()["failed"] != []
        assert ui.client.post(path, json=edit).json()["failed"] != []  # a script with the token has no Origin
        assert ui.client.post(path, json=edit, headers={"Origin": "http://evil.example"}).status_code == 403


def test_a_form_of_another_site_is_no_request(ui: Ui) -> None:
    body = json.dumps({"runs": ["demo/run1"]})
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        answer = ui.client.post("/api/delete", content=body, headers={"Content-Type": content_type})
        assert answer.status_code == 415, content_type
    too_long = ui.client.post("/api/edit", content=b" " * (9 << 20), headers={"Content-Type": "application/json"})
    assert too_long.status_code == 413
    for body in (
        "[]",
        "{",
        '{"runs": []}',
        '{"runs": [1]}',
        '{"runs": ["a"], "name": 1}',
        '{"runs": ["a"], "add_tags": "x"}',
        '{"runs": ["a"], "name": "\\ud800"}',
        "[" * 100_000,
    ):
        answer = ui.client.post("/api/edit", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, body
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        assert ui.client.request(method, "/api/delete").status_code == 405


@pytest.mark.parametrize("path", [*ASKED, "/api/nothing", "/api/run", "/api/edit"])
def test_every_answer_forbids_what_a_browser_could_misuse(ui: Ui, stranger: httpx.Client, path: str) -> None:
    answers = [stranger.get(path), stranger.get(path, headers={"Host": "evil.example"})]
    if path != "/api/events":  # it never ends
        origin = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
        answers += [ui.client.get(path), ui.client.options(path, headers=origin)]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy or "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert [name for name in answer.headers if name.startswith("access-control")] == []


TRAVERSALS = [
    "../../../../etc/passwd", "..%2f..%2fetc/passwd", "%2e%2e/%2e%2e/etc/passwd", "%252e%252e%252fetc", "..\\..\\x.js",
    "/etc/passwd", "x%00.js", "../app.py", "../access.py", "..;/x.js", "....//x.js",
]  # fmt: skip


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_path_leads_out_of_what_is_served(ui: Ui, path: str) -> None:
    for request in (f"/static/{path}", f"/blob?run=run1&name={path}", f"/file?run=run1&path={path}"):
        headers = f"Host: {ui.host}\r\nAuthorization: Bearer {ui.token}\r\nConnection: close"
        answer = raw(ui, f"GET {request} HTTP/1.1\r\n{headers}\r\n\r\n")
        assert answer.split()[1] == b"404", answer
        assert b"root:" not in answer
    assert ui.error("/api/run", 404, run=f"demo/{path}")["kind"] == "RunNotFound"


# Found again, and found by nobody else


@pytest.mark.real(timeout_s=90)
def test_a_second_ui_prints_the_same_line_and_the_file_is_its_users_alone(tmp_path: Path) -> None:
    with serving(tmp_path, "--no-open") as ui:
        again = subprocess.run(
            [sys.executable, "-m", "disttrack", "ui", "--no-open", "--dir", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        assert again.stdout.strip() == ui.url
        (file,) = Path(os.environ["DISTTRACK_RUNTIME_DIR"], "servers").glob("*.json")
        assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        assert ui.token in file.read_text()
        ui.process.terminate()
        ui.process.communicate(timeout=300)
        assert not file.exists()


@pytest.fixture
def noted(tmp_path: Path) -> Callable[[int], Instance]:
    """Notes this process as a server that listens at some port."""

    def noted(port: int) -> Instance:
        instance = new_instance(tmp_path / ROOT_NAME, "127.0.0.1", port)
        note(instance, str(tmp_path))
        return instance

    return noted


def test_whoever_listens_at_the_port_of_a_dead_server_is_not_taken_for_it(
    ui: Ui, noted: Callable[[int], Instance], tmp_path: Path
) -> None:
    instance = noted(int(ui.host.partition(":")[2]))  # another server listens there: it cannot know this one's key
    assert running(Path(instance.root), str(tmp_path)) is None
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        nobody.close()
        instance = noted(1)
        assert running(Path(instance.root), str(tmp_path)) is None


def test_the_challenge_tells_nothing_but_the_proof(ui: Ui, stranger: httpx.Client) -> None:
    answer = stranger.get("/api/hello", params={"challenge": "ab" * 32})
    assert set(answer.json()) == {"proof"}
    assert ui.token not in answer.text
    assert stranger.get("/api/hello", params={"challenge": "x"}).status_code == 400


def test_openapi_names_every_path_and_each_of_them_is_in_the_docs() -> None:
    routes = {f"/api{route.path}" for route in API} | {"/blob", "/file"}
    assert set(PATHS) == routes - {"/api/csp-report"}
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    assert [path for path in PATHS if path not in text and path != "/api/hello"] == []


def test_it_listens_on_loopback_unless_told_otherwise(ui: Ui) -> None:
    assert ui.host.startswith("127.0.0.1:")


# A directory that may only be read


@pytest.mark.real(timeout_s=90)
def test_a_directory_that_may_only_be_read_is_shown_and_edits_are_refused_with_the_reason(
    tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    finished_run(tmp_path / ROOT_NAME, [(step, {"loss": 1.0}) for step in range(3)])
    read_only = (
        f"mount --bind {tmp_path / ROOT_NAME} {tmp_path / ROOT_NAME} && mount -o remount,bind,ro {tmp_path / ROOT_NAME}"
    )
    before = [require_program("unshare"), "-r", "-m", "sh", "-c", f'{read_only} && exec "$@"', "sh"]
    if subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount in a namespace of its own")
    with serving(tmp_path, before=before) as ui:
        about = ui.json("/api/about")
        assert (about["editable"], about["runs"]) == (False, 1)
        assert "read-only" in about["why_not_editable"]
        assert [row["id"] for row in ui.json("/api/runs")["rows"]] == ["run1"]
        for path in ("/api/edit", "/api/delete"):
            answer = ui.client.post(path, json={"runs": ["demo/run1"], "name": "x"})
            assert (answer.status_code, kind(answer)) == (403, "ReadOnly")
            assert "read-only" in answer.json()["error"]["message"]


@pytest.mark.real(timeout_s=90)
def test_a_browser_is_opened_without_telling_the_other_users_of_the_machine_the_token(tmp_path: Path) -> None:
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}.new && mv {opened}.new {opened}\n')
    browser.chmod(0o700)
    terminal, theirs = pty.openpty()  # only on a terminal
    process = subprocess.Popen(
        [sys.executable, "-m", "disttrack", "ui", "--port", "0", "--dir", str(tmp_path)],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "DISPLAY": ":0", "BROWSER": f"{browser} %s"},
    )
    try:
        wait_until(opened.exists, "the browser is opened")
        url = os.read(terminal, 4_096).decode().split()[0]
        page = Path(opened.read_text().strip().removeprefix("file://"))
        assert url.startswith("http://127.0.0.1:")
        assert page.stat().st_mode & 0o777 == 0o600
        assert html.escape(url) in page.read_text()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(300)
        os.close(terminal)
        os.close(theirs)


@pytest.mark.real(timeout_s=120)
def test_who_connects_and_says_nothing_is_let_go_and_keeps_nobody_else_out(ui: Ui) -> None:
    host, _, port = ui.host.partition(":")
    silent = [socket.create_connection((host, int(port)), timeout=100) for _ in range(50)]
    try:
        for number, connection in enumerate(silent):
            connection.sendall(b"GET / HTTP/1.1\r\nX: "[: number % 20])
        assert ui.json("/api/about")["runs"] == 1
        for connection in silent:
            while connection.recv(1_000):  # until it is closed
                pass
    finally:
        for connection in silent:
            connection.close()
