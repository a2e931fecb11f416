"""One server that speaks OpenAI's chat protocol, or scores conversations as vLLM does: requests, replies and health."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from factory.inference.client import Client, exchange
from factory.inference.concurrency import Concurrency
from factory.inference.failures import Failure, wait_s
from factory.inference.replies import Completion, read_completion

DOWN_AFTER = 5
"""Failures in a row after which a server is paused."""
PROBE_S = 30.0
"""How long to wait for a sign of life from a server that may be dead."""
PATIENCE = 10.0
"""The time to wait for an answer, as a multiple of the slowest answer so far."""
SHORTEST_PATIENCE_S = 300.0
MAX_WAIT_S = 600.0


def renamed(body: Mapping[str, Any], names: Mapping[str, str | None]) -> dict[str, Any]:
    """A request's body with its parameters under the endpoint's names; None leaves one out."""
    sent = ((names.get(name, name), value) for name, value in body.items())
    return {name: value for name, value in sent if name is not None}


@dataclass(slots=True, eq=False)
class Server:
    """One base URL and its health. Times are seconds of the monotonic clock."""

    address: str
    """as in the rows: embedded:NAME, vllm:NAME, or the base URL without credentials"""
    chat_url: str
    client: Client
    pace: Concurrency
    timeout_s: float
    max_wait_s: float = MAX_WAIT_S
    """the longest pause that its `Retry-After` can ask for"""
    names: Mapping[str, str | None] = field(default_factory=dict)
    """parameters that it knows by another name; None: not sent"""
    beside: Mapping[str, Any] = field(default_factory=dict)
    """what its requests have beside OpenAI's parameters"""
    read: Callable[[Any], Completion] = read_completion
    """a reply's JSON -> its choices, prompt tokens and completion tokens"""
    last_answer_s: float = field(default_factory=time.monotonic)
    longest_s: float = 0.0
    answers: int = 0
    failures: int = 0
    """in a row"""
    pauses: int = 0
    """in a row"""
    paused_until_s: float = 0.0
    said: str = ""
    """why it did not answer the last test request"""
    told_until_s: float = 0.0
    """the long pause that was told last"""

    @property
    def patience_s(self) -> float:
        """How long to wait for an answer; once a server has answered, PATIENCE times its slowest answer."""
        if self.answers < DOWN_AFTER:
            return self.timeout_s
        return min(self.timeout_s, max(SHORTEST_PATIENCE_S, PATIENCE * self.longest_s))

    async def send(self, body: dict[str, Any]) -> Completion:
        """Sends a request and reads the reply.

        Raises:
            Failure: no reply, or not the expected one.
        """
        started_s = time.monotonic()
        try:
            completion = self.read(
                await exchange(
                    self.client, self.chat_url, self.patience_s, {**renamed(body, self.names), **self.beside}
                )
            )
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
            self.paused_until_s = max(self.paused_until_s, now_s + min(failure.retry_after_s, self.max_wait_s))
        if failure.is_refusal or failure.status == 429:
            self.failures = 0  # the server is up
            return
        self.failures += 1
        if self.failures >= DOWN_AFTER and now_s >= self.paused_until_s:
            self.pauses += 1
            self.paused_until_s = now_s + wait_s(self.pauses, failure)
            self.pace.restart(now_s)

    async def lacks_path(self) -> Failure | None:
        """What it says if there is no chat at its URL; None: there is one, whatever it says to a request without a model."""
        try:
            await exchange(self.client, self.chat_url, min(PROBE_S, self.timeout_s), {"model": "", "messages": []})
        except Failure as failure:
            no_path = failure.status in (404, 405, 410, 501) and "model" not in failure.said.lower()
            return failure if no_path or failure.status is None else None
        return None

    async def responds(self, model: str) -> bool:
        """Whether it answers a test request within PROBE_S."""
        probe = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        try:
            self.read(
                await exchange(self.client, self.chat_url, PROBE_S, {**renamed(probe, self.names), **self.beside})
            )
        except Failure as failure:
            self.said = str(failure)
            return False
        self.failures, self.pauses, self.last_answer_s = 0, 0, time.monotonic()
        return True
