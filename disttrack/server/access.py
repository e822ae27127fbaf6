"""Who may ask: an allow-list of hosts, a token or the cookie it was exchanged for, and the page's own origin.

On a shared machine every local user reaches a port on 127.0.0.1, and every page in the user's browser can send
requests to it: so a token is asked for on loopback, too, and Host and Origin are looked at for every method.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import ipaddress
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from disttrack.server.answers import json_answer

__all__ = ["POLICY", "Access", "AccessControl"]

POLICY = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; report-uri /api/csp-report"
)
"""What the page may load and run: nothing that is not this server's, and no script or style within a document."""

SAFE = ("GET", "HEAD")
_ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Access:
    """What one server asks of who asks it."""

    def __init__(self, token: str, hosts: Collection[str] = ()) -> None:
        """token: the secret. hosts: names that Host may have beside those of loopback."""
        self._token = token
        self.session = hmac.new(token.encode(), b"disttrack session cookie", hashlib.sha256).hexdigest()
        self._hosts = {host.lower() for host in hosts}

    def knows_host(self, host: str) -> bool:
        """Say whether a Host header names this server: on any port, since a tunnel has one of its own."""
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if name is None or "@" in host or "/" in host:
            return False
        if name == "localhost" or name in self._hosts:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    def is_token(self, given: str) -> bool:
        """Say whether this is the token, in a time that does not tell how much of it is right."""
        return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._token.encode())

    def is_session(self, given: str) -> bool:
        """Say whether this is the cookie that the token is exchanged for."""
        return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self.session.encode())


class AccessControl:
    """Lets through what may ask, and sets on every answer what keeps a browser from misusing it."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no WebSockets here: their handshake is closed
            await send({"type": "websocket.close", "code": 1008})
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers.setdefault(name, value)
                headers.setdefault("content-security-policy", POLICY)
            await send(message)

        answer = self._refusal(scope)
        await (answer or self._app)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        """Return the answer to a request that may not go on, or that brings the token; None where it may."""
        headers, method = Headers(scope=scope), str(scope["method"])
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.knows_host(hosts[0]):
            named = ", ".join(hosts)[:100] or "none"
            why = f"This server does not answer to the host {named!r}. If that is its name, start it with --allow-host."
            return _refused(403, "UnknownHost", why)
        if scope["path"] == "/api/hello" and method in SAFE:
            return None  # answers a challenge, with nothing else
        scheme, _, given = headers.get("authorization", "").partition(" ")
        by_token = scheme.lower() == "bearer" and self._access.is_token(given.strip())
        if method not in SAFE and not _is_ours(headers, hosts[0], has_token=by_token):
            return _refused(403, "ForeignOrigin", "Only the page of this server may ask this: the Origin is another's.")
        if by_token:
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        for name, value in query:
            if name == "token" and method in SAFE and not scope["path"].startswith("/api/"):
                return self._exchanged(scope, query) if self._access.is_token(value) else _unknown_token(headers)
        cookie = _cookie(headers, cookie_name(hosts[0]))
        if cookie is not None and self._access.is_session(cookie):
            return None
        return _unknown_token(headers)

    def _exchanged(self, scope: Scope, query: list[tuple[str, str]]) -> Response:
        """Return what gives the browser its cookie, and then goes to where it wanted to go, without the token.

        Not a redirect: after a link from another site (a notebook, a file) a browser follows one without the cookie,
        which is SameSite=Strict. A page of our own that goes on by itself is no other site.
        """
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        # One slash: "//evil.example" would be another server's address.
        target = "/" + quote(str(scope["path"]).lstrip("/\\"), safe="/~") + (f"?{rest}" if rest else "")
        goes_on = f'<meta http-equiv="refresh" content="0; url={html.escape(target)}">'
        answer = HTMLResponse(
            f"<!doctype html><title>disttrack</title>{goes_on}", headers={"Cache-Control": "no-store"}
        )
        host = Headers(scope=scope)["host"]
        answer.set_cookie(cookie_name(host), self._access.session, path="/", httponly=True, samesite="strict")
        return answer


def cookie_name(host: str) -> str:
    """Return the name of a server's cookie: browsers keep those of one host's ports together."""
    return f"disttrack-{urlsplit(f'//{host}').port or 80}"


def _cookie(headers: Headers, name: str) -> str | None:
    try:
        cookies: SimpleCookie = SimpleCookie("; ".join(headers.getlist("cookie")))
    except CookieError:
        return None
    return cookies[name].value if name in cookies else None


def _is_ours(headers: Headers, host: str, *, has_token: bool) -> bool:
    """Say whether an unsafe request comes from this server's page, or from a program that has the token."""
    origins = headers.getlist("origin")
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    if origins:
        return len(origins) == 1 and origins[0] in (f"http://{host}", f"https://{host}")
    return has_token or headers.get("sec-fetch-site") == "same-origin"


def _unknown_token(headers: Headers) -> Response:
    why = "Open the line that `disttrack ui` printed: it carries the token that lets you in. It prints it again."
    if "text/html" in headers.get("accept", ""):
        return HTMLResponse(f"<!doctype html><title>disttrack</title><p>{html.escape(why)}</p>", 401)
    return _refused(401, "NoToken", why)


def _refused(status: int, kind: str, message: str) -> Response:
    return json_answer({"error": {"kind": kind, "message": message, "at": None}}, status)
