"""What a server says of itself: where its runs lie, what can be changed there, and that it is who it says."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from importlib import metadata

from starlette.requests import Request
from starlette.responses import Response

from disttrack.environments import host
from disttrack.errors import RootGone
from disttrack.query.overview import projects_of
from disttrack.query.reader import Reader
from disttrack.server.answers import Refused, json_answer
from disttrack.server.parameters import required
from disttrack.server.served import served

__all__ = ["about", "hello", "policy_report", "proof_of", "version"]

_log = logging.getLogger(__name__)
_CHALLENGE = re.compile(r"[0-9a-f]{32,128}")
MAX_REPORT_BYTES = 16_384
EXAMPLE = """\
import disttrack

run = disttrack.init(project="demo", config={"lr": 3e-4})
for step in range(100):
    run.log({"loss": 1 / (step + 1)}, step=step)
run.finish()
"""


def version() -> str:
    """Return the version that is installed; "" where disttrack runs from its sources."""
    try:
        return metadata.version("disttrack")
    except metadata.PackageNotFoundError:
        return ""


def proof_of(key: bytes, challenge: str) -> str:
    """Return what only who knows the key can answer a challenge with."""
    return hmac.new(key, challenge.encode(), hashlib.sha256).hexdigest()


def hello(request: Request) -> Response:
    """GET /api/hello: proves to who has read its file that this is the server; needs no token, tells nothing."""
    challenge = required(request, "challenge")
    if not _CHALLENGE.fullmatch(challenge):
        raise Refused(400, "A challenge is 32 to 128 hexadecimal digits.", "UsageError")
    return json_answer({"proof": proof_of(request.app.state.challenge_key, challenge)})


def about(request: Request) -> Response:
    """GET /api/about."""
    here = served(request)
    why = here.why_not_editable()
    return json_answer(
        {
            "version": version(),
            "root": str(here.root),
            "host": host.hostname(),
            "editable": why is None,
            "why_not_editable": why,
            "now": here.now_s(),
            "instance": here.instance,
            "runs": _runs(here.reader),
            "example": EXAMPLE,
        }
    )


def _runs(reader: Reader) -> int:
    """Return how many runs there are; none while their directory is gone: the server says what it is all the same."""
    try:
        return sum(row.runs for row in projects_of(reader))
    except RootGone:
        return 0


async def policy_report(request: Request) -> Response:
    """POST /api/csp-report: what a browser kept the page from doing; a line in the log, since it must not happen."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_REPORT_BYTES:
            raise Refused(413, "A report is shorter.", "TooLong")
    _log.warning("a browser reports what the page's policy forbids: %r", body[:2_000])
    request.app.state.policy_reports += 1
    return Response(status_code=204)
