"""Requests without an answer: what was said, for how long to wait, and what a connection failed of."""

import email.utils
import html
import os
import random
import re
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp

from factory.inference.values import read_json, storable

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
LONGEST_ASKED_S = 366 * 86_400.0
"""A longer `Retry-After` counts as this long: 400 digits would be for ever."""
NO_KEY = "none"
"""Sent as the key if there is none."""
SHORTEST_SECRET = 8
"""A shorter key is a placeholder such as EMPTY or test, which an answer may hold by chance: it stays in answers."""
READ_CHARACTERS = 8_000
"""of an error page: the reason stands at its beginning"""
_CODES = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "invalid_api_key": 401,
    "model_not_found": 404,
    "context_length_exceeded": 400,
}
_PAGE = re.compile(r"\s*<(?:!doctype|\?xml|html|head|body|title|center|h\d|p|div)\b", re.IGNORECASE)
_UNSEEN = re.compile(r"<(script|style)\b[^<>]*>.*?</\1\s*>|<[^<>]*(?:>|$)", re.IGNORECASE | re.DOTALL)
_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?")
_ESCAPABLE = re.compile(r"[^\w.-]")


@dataclass(eq=False)  # not frozen: Python sets an exception's traceback
class Failure(Exception):
    """A request without an answer. `status` is HTTP's, None if there was no complete reply."""

    said: str
    """the endpoint's or the system's message, on one line"""
    status: int | None = None
    retry_after_s: float | None = None
    """as the endpoint asks"""
    timed_out: bool = False
    parameter: str | None = None
    """the request's parameter that the endpoint names as the wrong one"""
    remedy: str | None = None
    """what to change, where no repetition can help"""
    proxy: str | None = None
    """the proxy that was asked, without its credentials"""

    def __str__(self) -> str:
        said = self.said if self.status is None else f"HTTP {self.status}: {self.said}"
        return said + self.by_way

    @property
    def by_way(self) -> str:
        """How a sentence about it goes on if there was a proxy: it may be the one that failed."""
        return f", through the proxy {self.proxy}" if self.proxy else ""

    @property
    def kind(self) -> str:
        """A short label, for counts."""
        if self.status is not None:
            return f"HTTP {self.status}"
        return "time-out" if self.timed_out else "garbage" if self.said.startswith("answered") else "connection"

    @property
    def is_overload(self) -> bool:
        """The endpoint is overloaded; the request itself is fine."""
        return self.status in (429, 503, 529) or self.timed_out

    @property
    def is_refusal(self) -> bool:
        """Retrying cannot help."""
        if self.status is None:
            return False
        return self.status == 501 or (400 <= self.status < 500 and self.status not in (408, 409, 425, 429))


def read_document(status: int, headers: Any, content: bytes, secret: str) -> Any:
    """The JSON of a reply, with the key masked wherever the endpoint repeats it.

    Args:
        secret: the key, which must appear neither in a message nor in a row.
    Raises:
        Failure: an HTTP error, also one inside a reply of status 200, or a body that is not JSON.
    """
    try:
        document = read_json(content)
    except ValueError:
        if status < 300:
            raise Failure(f"answered with {_unreadable(headers, content, secret)}") from None
        document = None
    code = status if status >= 300 else _code_of_error(document)
    if code is None:
        return masked(document, content, secret)
    words = _words(document, content, secret)
    if code == 0:
        raise Failure(f"answered with an error: {words}")
    raise Failure(words, code, retry_after_s(headers), parameter=_parameter(document))


def masked(document: Any, content: bytes, secret: str) -> Any:
    """Parsed JSON with `***` for the key in every text; `content` is what it was parsed from."""
    if secret == NO_KEY or len(secret) < SHORTEST_SECRET:
        return document
    # JSON may spell any character as \u0041, and some others with a backslash.
    if secret.encode() not in content and b"\\u" not in content and not _ESCAPABLE.search(secret):
        return document
    if isinstance(document, str):
        return document.replace(secret, "***")
    todo = [document]  # not recursive: a reply may be nested more deeply than Python calls
    while todo:
        within = todo.pop()
        if not isinstance(within, list | dict):
            continue
        for key, value in list(within.items() if isinstance(within, dict) else enumerate(within)):
            if isinstance(value, str):
                within[key] = value.replace(secret, "***")
            else:
                todo.append(value)
    return document


def _code_of_error(document: Any) -> int | None:
    """The status that a reply of status 200 gives in its body; 0: an error without one; None: no error."""
    if not isinstance(document, dict) or document.get("choices") or document.get("data"):
        return None
    error = document.get("error") or (document if document.get("object") == "error" else None)
    if not error:
        return None
    for place in (error, document):
        for name in ("code", "status", "status_code"):
            code = place.get(name) if isinstance(place, dict) else None
            code = _CODES.get(code, code) if isinstance(code, str) else code
            if isinstance(code, str) and re.fullmatch("[45][0-9][0-9]", code):
                code = int(code)
            if isinstance(code, int) and 400 <= code < 600:
                return code
    return 0


def _parameter(document: Any) -> str | None:
    """The parameter that an error blames: OpenAI's `param`, or FastAPI's location of the fault."""
    error = document.get("error", document) if isinstance(document, dict) else None
    named = error.get("param") if isinstance(error, dict) else None
    if isinstance(named, str):
        return named
    for item in _details(document):
        location = item.get("loc")
        if isinstance(location, list) and len(location) > 1 and isinstance(location[1], str):
            return location[1]
    return None


def _details(document: Any) -> list[dict[str, Any]]:
    """FastAPI's list of faults, wherever it is."""
    found = document
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _words(document: Any, content: bytes, secret: str) -> str:
    """The error message, in the format of OpenAI, vLLM, FastAPI, Gemini or llama.cpp; else the body."""
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    found = document
    for key in ("error", "message", "msg", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    code = (
        document["error"].get("code")
        if isinstance(document, dict) and isinstance(document.get("error"), dict)
        else None
    )
    if details := [item for item in _details(document) if "msg" in item]:
        # Its `input` may repeat the whole request.
        found = "; ".join(f"{'.'.join(map(str, item.get('loc') or ()))}: {item['msg']}" for item in details)
    text = found if isinstance(found, str) else _seen(content)
    said = f"{text} ({code})" if isinstance(code, str) else text
    return _without(secret, said) or "no reason given"


def _unreadable(headers: Any, content: bytes, secret: str) -> str:
    """What a reply is that should be JSON, and how it begins."""
    kind = headers.get("content-type", "")
    if "event-stream" in kind or content.lstrip().startswith((b"data:", b"event:")):
        what = "a stream of events, which was not asked for"
    elif not content.strip():
        return "nothing"
    else:
        what = "something that is not JSON"
    begins = _without(secret, _seen(content))[:100]
    return f"{what}: {begins}" if begins else what


def _seen(content: bytes) -> str:
    """The text of a body; of a web page, what a person would see."""
    text = content[: 4 * READ_CHARACTERS].decode("utf-8", "replace")[:READ_CHARACTERS]
    return html.unescape(_UNSEEN.sub(" ", text)) if _PAGE.match(text) else text


def _without(secret: str, text: str) -> str:
    return one_line(text if secret == NO_KEY else text.replace(secret, "***"))


def retry_after_s(headers: Any) -> float | None:
    """The seconds for which a reply asks to wait: a number or a date; None: it does not, or in vain."""
    asked = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(asked):
        return min(float(asked), LONGEST_ASKED_S)
    try:
        until = email.utils.parsedate_to_datetime(asked)
        seconds = (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(seconds, LONGEST_ASKED_S) if seconds > 0 else None


def wait_s(failures: int, failure: Failure) -> float:
    """Seconds until the next attempt: as the endpoint asks, else doubling, with jitter."""
    asked_s = failure.retry_after_s
    if asked_s is not None and asked_s >= FIRST_WAIT_S:  # one that says 0 would be asked without a pause for ever
        return asked_s
    return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(failures - 1, 16)) * random.uniform(0.5, 1.5))


def of_transport(error: BaseException) -> Failure:
    """A connection failure, with the system's message if there is one."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return Failure(f"the proxy refuses to connect (HTTP {error.status}: {one_line(error.message)})")
    chain = [error]
    while (below := chain[-1].__cause__ or chain[-1].__context__) is not None and below not in chain:
        chain.append(below)
    root = chain[-1]
    # The lowest: the client's own is of such a kind too, without what OpenSSL said.
    secure = next((e for e in reversed(chain) if isinstance(e, ssl.SSLError)), None)
    if secure is not None:
        return _of_tls(secure)
    timed_out = any(isinstance(e, TimeoutError) for e in (error, root)) or "timeout" in type(error).__name__.lower()
    if isinstance(root, socket.gaierror | socket.herror):  # their numbers are of tables of their own
        return Failure(f"its name cannot be looked up: {one_line(root.strerror or str(root))}")
    if isinstance(root, OSError) and root.errno is not None and root.errno > 0:
        return Failure(os.strerror(root.errno))
    if timed_out:
        return Failure("gave no answer in time", timed_out=True)
    if isinstance(error, aiohttp.ClientResponseError):
        return Failure(f"answered with something that is not HTTP: {one_line(error.message)}")
    return Failure(one_line(str(root)) or type(root).__name__)


def _of_tls(error: Exception) -> Failure:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure(
            f"its certificate is not trusted: {one_line(error.verify_message)}",
            remedy="set the environment variable SSL_CERT_FILE to a file of the certificate that signed it",
        )
    reason = one_line(str(getattr(error, "reason", None) or error)).replace("_", " ").lower()
    return Failure(f"no TLS connection: {reason}", remedy="check whether its URL begins with http:// or https://")


def one_line(text: str) -> str:
    """The text on one line of at most 200 characters."""
    return storable(" ".join(text.split())[:200])
