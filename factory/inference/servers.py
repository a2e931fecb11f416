"""One server that speaks OpenAI's chat protocol: its requests, replies and health."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from factory.inference.concurrency import Concurrency
from factory.inference.journal import Choice
from factory.inference.replies import Failure, of_transport, read_completion, read_document, wait_s

DOWN_AFTER = 5
"""Failures in a row after which a server is paused."""
PROBE_S = 30.0
"""How long to wait for a sign of life from a server that may be dead."""
PATIENCE = 10.0
"""The time to wait for an answer, as a multiple of the slowest answer so far."""
SHORTEST_PATIENCE_S = 300.0


async def exchange(http: aiohttp.ClientSession, url: str, timeout_s: float, body: dict[str, Any] | None = None) -> Any:
    """Sends a body (without one, a GET) and returns the JSON of the reply.

    Raises:
        Failure: no reply, or not the expected one.
    """
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        if body is None:
            request = http.get(url, timeout=timeout)
        else:
            request = http.post(url, data=json.dumps(body), timeout=timeout)
        async with request as answer:
            status, headers, content = answer.status, answer.headers, await answer.read()
    except (aiohttp.ClientError, OSError) as error:  # a time-out is an OSError
        raise of_transport(error) from error
    # An endpoint may repeat the key in an error message.
    return read_document(status, headers, content, secret=http.headers["Authorization"].removeprefix("Bearer "))


@dataclass(slots=True, eq=False)
class Server:
    """One base URL and its health. Times are seconds of the monotonic clock."""

    address: str
    """as in the rows: embedded:NAME, vllm:NAME, or the base URL without credentials"""
    chat_url: str
    http: aiohttp.ClientSession
    """sends the key"""
    pace: Concurrency
    timeout_s: float
    last_answer_s: float = field(default_factory=time.monotonic)
    longest_s: float = 0.0
    answers: int = 0
    failures: int = 0
    """in a row"""
    pauses: int = 0
    """in a row"""
    paused_until_s: float = 0.0

    @property
    def patience_s(self) -> float:
        """How long to wait for an answer; once a server has answered, PATIENCE times its slowest answer."""
        if self.answers < DOWN_AFTER:
            return self.timeout_s
        return min(self.timeout_s, max(SHORTEST_PATIENCE_S, PATIENCE * self.longest_s))

    async def send(self, body: dict[str, Any]) -> tuple[list[Choice], int | None, int | None]:
        """Sends a chat request and reads the reply; see `read_completion`.

        Raises:
            Failure: no reply, or not the expected one.
        """
        started_s = time.monotonic()
        try:
            completion = read_completion(await exchange(self.http, self.chat_url, self.patience_s, body))
        except Failure as failure:
            self._failed(failure)
            raise
        now_s = time.monotonic()
        self.longest_s = max(self.longest_s, now_s - started_s)
        self.answers, self.failures, self.pauses, self.last_answer_s = self.answers + 1, 0, 0, now_s
        return completion

    def _failed(self, failure: Failure) -> None:
        now_s = time.monotonic()
        if failure.is_overload:
            self.pace.refused(now_s)
        if failure.retry_after_s is not None:
            self.paused_until_s = max(self.paused_until_s, now_s + failure.retry_after_s)
        if failure.is_refusal or failure.status == 429:
            self.failures = 0  # the server is up
            return
        self.failures += 1
        if self.failures >= DOWN_AFTER and now_s >= self.paused_until_s:
            self.pauses += 1
            self.paused_until_s = now_s + wait_s(self.pauses, failure)
            self.pace.restart(now_s)

    async def responds(self, model: str) -> bool:
        """Whether it answers a test request within PROBE_S."""
        probe = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        try:
            read_completion(await exchange(self.http, self.chat_url, PROBE_S, probe))
        except Failure:
            return False
        self.failures, self.pauses, self.last_answer_s = 0, 0, time.monotonic()
        return True
