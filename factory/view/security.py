"""Who may ask, and what a browser may do with the answer.

A page in the same browser can send requests to this server, and with a DNS trick ("rebinding") make them look like its own.
So the Host header has to be one of ours to the letter, a request that changes something has to come from a page of ours
(Origin), and addresses other than loopback want a token. Nothing in an answer may run: no inline script or style, no frame.
"""

import hmac
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 2_000_000
"""bytes of a request's body"""
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_NEED_TOKEN = "this page needs its token: open the address that `factory view` printed, which ends with ?token=…\n"


class Guard:
    """The middleware that every request passes, before anything reads the lake."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], token: str | None, cookie: str) -> None:
        """
        Args:
            hosts: the values that the Host header may have, such as `127.0.0.1:8360`.
            token: what a browser has to show once; None: nothing (loopback).
            cookie: the cookie's name; it holds the port, as browsers send a cookie to every port.
        """
        self.app, self.hosts, self.token, self.cookie = app, hosts, token, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)
        refusal = self._refusal(request)
        if refusal is None:
            await self.app(scope, _limited(receive), _with_headers(send))
        else:
            await refusal(scope, receive, _with_headers(send))

    def _refusal(self, request: Request) -> Response | None:
        headers = request.headers
        if headers.get("host", "").lower() not in self.hosts:
            return _no(
                "this server is not the host that the request names: open the address that `factory view` printed"
            )
        if request.method not in ("GET", "HEAD") and not self._is_ours(headers):
            return _no("a page of another site may not change anything here")
        fetched = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if fetched and headers.get("sec-fetch-mode") != "navigate":
            return _no("a page of another site may not read from here")
        if int(headers.get("content-length", "0") or 0) > LARGEST_BODY:
            return PlainTextResponse(f"a request may have at most {LARGEST_BODY:,} bytes\n", 413)
        return None if self.token is None else self._without_token(request)

    def _is_ours(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        host = headers["host"].lower()
        # A host without a port is a proxy's, which speaks TLS to the browser.
        schemes = ("http",) if host.rpartition(":")[2].isdigit() else ("http", "https")
        return origin is not None and origin.lower() in [f"{scheme}://{host}" for scheme in schemes]

    def _without_token(self, request: Request) -> Response | None:
        assert self.token is not None
        given = request.query_params.get("token")
        if given is not None and hmac.compare_digest(given.encode(), self.token.encode()):
            others = [(name, value) for name, value in parse_qsl(request.url.query) if name != "token"]
            answer = RedirectResponse(f"{request.url.path}{'?' + urlencode(others) if others else ''}", 303)
            answer.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
            return answer
        shown = request.cookies.get(self.cookie, "")
        return None if hmac.compare_digest(shown.encode(), self.token.encode()) else PlainTextResponse(_NEED_TOKEN, 401)


def _no(sentence: str) -> Response:
    return PlainTextResponse(f"{sentence}\n", 403)


def _limited(receive: Receive) -> Receive:
    """The request's body, which ends (as if its sender had gone) where it gets too long without having said so."""
    seen = 0

    async def next_part() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return message if seen <= LARGEST_BODY else {"type": "http.disconnect"}

    return next_part


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sent
