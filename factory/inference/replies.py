"""An endpoint's replies: chat completions, and temporary or permanent failures."""

import os
import random
from dataclasses import dataclass
from typing import Any

from factory.inference.completions import NotAnAnswer, read_choices
from factory.inference.journal import Choice
from factory.inference.values import one_line, read_json

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
NO_KEY = "none"
"""Sent as the key if there is none."""


@dataclass(eq=False)  # not frozen: Python sets an exception's traceback
class Failure(Exception):
    """A request without an answer. `status` is HTTP's, None if there was no complete reply."""

    said: str
    """the endpoint's or the system's message, on one line"""
    status: int | None = None
    retry_after_s: float | None = None
    timed_out: bool = False

    def __str__(self) -> str:
        return self.said if self.status is None else f"HTTP {self.status}: {self.said}"

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
        return self.status is not None and 400 <= self.status < 500 and self.status not in (408, 409, 425, 429)


def read_document(status: int, headers: Any, content: bytes, secret: str) -> Any:
    """The JSON of a reply.

    Args:
        secret: must not appear in a message.
    Raises:
        Failure: an HTTP error, or a body that is not JSON.
    """
    try:
        document = read_json(content)
    except ValueError:
        if status < 400:
            raise Failure("answered with something that is not JSON") from None
        document = None
    if status >= 400:
        raise Failure(_words(document, content, secret), status, _retry_after_s(headers))
    return document


def _words(document: Any, content: bytes, secret: str) -> str:
    """The error message, in the format of OpenAI, vLLM, FastAPI or llama.cpp; else the body."""
    found = document
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    code = (
        document["error"].get("code")
        if isinstance(document, dict) and isinstance(document.get("error"), dict)
        else None
    )
    text = found if isinstance(found, str) else content.decode("utf-8", "replace")
    said = f"{text} ({code})" if isinstance(code, str) else text
    return one_line(said if secret == NO_KEY else said.replace(secret, "***")) or "no reason given"


def _retry_after_s(headers: Any) -> float | None:
    asked = headers.get("retry-after", "")
    return float(asked) if asked.replace(".", "", 1).isdigit() else None


def read_completion(document: Any) -> tuple[list[Choice], int | None, int | None]:
    """The choices of a chat completion, its prompt tokens and its completion tokens; see `read_choices`.

    Raises:
        Failure: the document is not a chat completion.
    """
    if not isinstance(document, dict):
        raise Failure("answered in JSON, but with no chat completion")
    try:
        return read_choices(document.get("choices"), document.get("usage"))
    except NotAnAnswer as error:
        raise Failure(f"answered in JSON, but {error}") from error


def wait_s(failures: int, failure: Failure) -> float:
    """Seconds until the next attempt: as the endpoint asks, else doubling, with jitter."""
    if failure.retry_after_s is not None:
        return failure.retry_after_s
    return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (failures - 1)) * random.uniform(0.5, 1.5))


def of_transport(error: BaseException) -> Failure:
    """A connection failure, with the system's message if there is one."""
    root = error
    while (below := root.__cause__ or root.__context__) is not None:
        root = below
    timed_out = any(isinstance(e, TimeoutError) for e in (error, root)) or "timeout" in type(error).__name__.lower()
    if isinstance(root, OSError) and root.errno is not None and root.errno > 0:
        return Failure(os.strerror(root.errno))
    if timed_out:
        return Failure("gave no answer in time", timed_out=True)
    return Failure(one_line(str(root)) or type(root).__name__)
