"""The one way to call a model: OpenAI-compatible servers, whoever started them.

A model may stand behind several base URLs: each is given as many requests as it answers well (`concurrency.py`), the
next request goes to the one that has most room, and one that fails again and again is left alone for growing pauses.
Failures that pass are tried again; what cannot pass stops the run (a wrong key) or sets the prompt aside (too long).
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from factory.inference.concurrency import Concurrency
from factory.inference.journal import Choice, Reply
from factory.inference.replies import Failure, of_transport, read_completion, read_document, wait_s
from schemas.errors import FactoryError
from schemas.tables import Message, Model

ATTEMPTS = 8
DOWN_AFTER = 5
"""Failures in a row, without an answer between them, after which a server is left alone for a while."""
GONE_AFTER = 7
"""Pauses in a row after which a server is taken for gone: about a minute."""
DEAD_AFTER_S = 90.0
"""Is a model silent for so long, while requests fail, it is asked for a word: without an answer the run ends."""
PROBE_S = 30.0
PATIENCE = 10.0
SHORTEST_PATIENCE_S = 300.0


class SetAside(Exception):
    """A request that can never be answered: the prompt is set aside with this reason, the run goes on."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a reply is drawn."""

    temperature: float
    top_p: float
    max_tokens: int
    n: int
    response_format: dict[str, Any] | None = None  # OpenAI's; None: free text


def request_body(model: Model, messages: Sequence[Message], sampling: Sampling, seed: int) -> dict[str, Any]:
    """What is sent when all choices of a request are asked for at once."""
    body = {
        "model": model.name,
        "messages": [{"role": m.role, "content": m.content} for m in messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "n": sampling.n,
        "seed": seed,
    }
    return body if sampling.response_format is None else body | {"response_format": sampling.response_format}


async def exchange(http: aiohttp.ClientSession, url: str, timeout_s: float, body: dict[str, Any] | None = None) -> Any:
    """The JSON that a server answers to a body, or to a question without one.

    Raises:
        Failure: anything else came back, or nothing.
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
    # An endpoint may repeat the key in what it says.
    return read_document(status, headers, content, secret=http.headers["Authorization"].removeprefix("Bearer "))


@dataclass(slots=True, eq=False)
class Server:
    """One base URL, and how it is doing. Times are seconds of the monotonic clock."""

    address: str
    """as it stands in rows: embedded:NAME, or the base URL without credentials"""
    chat_url: str
    http: aiohttp.ClientSession
    """its connections, which show it the key"""
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
        """How long an answer is waited for: of a server that has answered, not for ever longer than it ever took."""
        if self.answers < DOWN_AFTER:
            return self.timeout_s
        return min(self.timeout_s, max(SHORTEST_PATIENCE_S, PATIENCE * self.longest_s))

    async def send(self, body: dict[str, Any]) -> tuple[list[Choice], int | None, int | None]:
        """What comes back for a chat request, as of `read_completion`.

        Raises:
            Failure: anything else came back, or nothing.
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
            self.failures = 0  # it is there, and says so
            return
        self.failures += 1
        if self.failures >= DOWN_AFTER and now_s >= self.paused_until_s:
            self.pauses += 1
            self.paused_until_s = now_s + wait_s(self.pauses, failure)
            self.pace.restart(now_s)

    async def gives_a_word(self, model: str) -> bool:
        """Whether it answers within PROBE_S to a question that is nobody's prompt."""
        question = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        try:
            read_completion(await exchange(self.http, self.chat_url, PROBE_S, question))
        except Failure:
            return False
        self.failures, self.pauses, self.last_answer_s = 0, 0, time.monotonic()
        return True


@dataclass(slots=True, eq=False)
class Endpoint:
    """A model that answers, from one server or several."""

    role: str
    model: Model
    servers: list[Server]
    context_tokens: int | None
    on_reply: Callable[[Reply], None]
    on_failure: Callable[[Failure], None] = lambda failure: None
    tokenize_url: str | None = None
    """where a server whose `usage` counts one choice only (llama.cpp) counts the tokens of a text"""
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    _timer: asyncio.TimerHandle | None = None
    _stopped: str | None = None
    """why no places are given any more"""

    @property
    def in_flight(self) -> int:
        return sum(server.pace.in_flight for server in self.servers)

    @property
    def limit(self) -> int:
        return sum(server.pace.limit for server in self.servers)

    @property
    def most(self) -> int:
        """requests at once that the recipe allows"""
        return sum(server.pace.most for server in self.servers)

    @property
    def last_answer_s(self) -> float:
        return max(server.last_answer_s for server in self.servers)

    async def ask(
        self, messages: list[Message], sampling: Sampling, seed: int, write_down: Callable[[Reply], Awaitable[None]]
    ) -> Reply:
        """Asks until all `sampling.n` choices are there.

        Args:
            write_down: takes the reply while the request still has its place.
        Raises:
            SetAside: the endpoint refuses this very request for good, or it failed ATTEMPTS times.
            FactoryError: the endpoint is gone, refuses the key, or does not have the model; or that of `write_down`.
        """
        body = request_body(self.model, messages, sampling, seed)
        choices: list[Choice] = []
        completion_tokens: int | None = 0
        latency_s, retries, failures = 0.0, 0, 0
        first_failure_s: float | None = None
        while True:
            # A server that gives fewer choices than asked for is asked for the rest, with another seed.
            left = sampling.n - len(choices)
            try:
                async with self._place() as server:
                    started_s = time.monotonic()
                    got, prompt_tokens, tokens = await server.send(
                        {**body, "n": left, "seed": (seed + len(choices)) & 0x7FFFFFFF}
                    )
                    answered_s = time.monotonic()
                    server.pace.answered(answered_s, answered_s - started_s, wanted=bool(self._waiting))
                    if len(got) > 1 and self.tokenize_url:
                        got = list(await asyncio.gather(*(self._counted(server, choice) for choice in got)))
                        tokens = sum(choice.tokens or 0 for choice in got)
                    latency_s += time.monotonic() - started_s
                    choices += got[:left]
                    completion_tokens = (
                        None if tokens is None or completion_tokens is None else completion_tokens + tokens
                    )
                    if len(choices) == sampling.n:
                        reply = Reply(choices, prompt_tokens, completion_tokens, latency_s, retries, server.address)
                        await write_down(reply)
                        self.on_reply(reply)
                        return reply
            except Failure as failed:
                self.on_failure(failed)
                retries += 1
                failures += failed.status != 429  # being asked to wait says nothing against the request
                first_failure_s = first_failure_s or time.monotonic()
                await self._give_up_if_hopeless(failed, server, failures, first_failure_s)
                await asyncio.sleep(wait_s(retries, failed))

    async def _counted(self, server: Server, choice: Choice) -> Choice:
        """The choice with its number of tokens: those of its text, and the one that ended it."""
        document = await exchange(server.http, self.tokenize_url or "", server.timeout_s, {"content": choice.text})
        return Choice(choice.text, choice.finish_reason, len(document["tokens"]) + (choice.finish_reason == "stop"))

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[Server]:
        """A request's place at a server."""
        server = await self._room()
        try:
            yield server
        except FactoryError as error:
            self.stop(str(error))  # the reply could not be written down, and what is sent now would be lost too
            raise
        except BaseException:
            self._leave(server)
            raise
        self._leave(server)

    def stop(self, reason: str) -> None:
        """Gives no place any more: the run ends, and what is sent now would be paid and lost."""
        self._stopped = reason
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def _leave(self, server: Server) -> None:
        server.pace.in_flight -= 1
        self._wake()

    async def _room(self) -> Server:
        """A place at the server that has most of them free; the requests that wait are served in their order."""
        waited = False
        while True:
            if self._stopped is not None:
                raise FactoryError(self._stopped)
            now_s = time.monotonic()
            with_room = [s for s in self.servers if s.pace.free and s.paused_until_s <= now_s]
            if with_room and (waited or not self._waiting):
                server = min(with_room, key=lambda s: s.pace.in_flight / s.pace.limit)
                server.pace.in_flight += 1
                return server
            waiter = asyncio.get_running_loop().create_future()
            # Who was woken and came too late is the first in line again.
            self._waiting.appendleft(waiter) if waited else self._waiting.append(waiter)
            waited = True
            self._wake()
            try:
                await waiter
            except asyncio.CancelledError:
                self._wake()  # the place it was woken for is another's
                raise

    def _wake(self) -> None:
        """Lets as many go on as there are places; where servers are paused, looks again when the first is back."""
        now_s = time.monotonic()
        free = sum(server.pace.free for server in self.servers if server.paused_until_s <= now_s)
        while free > 0 and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1
        paused_s = [s.paused_until_s - now_s for s in self.servers if s.paused_until_s > now_s]
        if self._waiting and paused_s and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(min(paused_s) + 0.001, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self._wake()

    async def _give_up_if_hopeless(
        self, failure: Failure, server: Server, failures: int, first_failure_s: float
    ) -> None:
        if failure.status in (401, 403):
            raise FactoryError(
                f"{server.address} refuses the key (HTTP {failure.status}): put the right one where "
                f"models.{self.role}.api_key_env or api_key_file says"
            ) from failure
        if failure.status == 404:
            raise FactoryError(
                f"{server.address} has no model {self.model.name!r} (HTTP 404): "
                f"set models.{self.role}.name to one it serves"
            ) from failure
        if failure.status == 429 and "insufficient_quota" in failure.said:
            raise FactoryError(
                f"{server.address} answers no more ({failure}): see to your account there, then go on with `factory resume`"
            ) from failure
        if failure.is_refusal:
            raise SetAside(f"refused ({failure})") from failure
        silent_s = time.monotonic() - self.last_answer_s
        gone = all(s.pauses >= GONE_AFTER for s in self.servers) or silent_s > DEAD_AFTER_S
        if failures < ATTEMPTS and not gone:
            return
        # Nobody else was answered meanwhile: is it this request's fault, or the servers'?
        unheard = gone or self.last_answer_s <= first_failure_s
        if unheard and not await self.answers():
            raise FactoryError(
                f"{' and '.join(s.address for s in self.servers)} has answered nothing for {silent_s:.0f} s "
                f"({failure}): see that it runs, then go on with `factory resume`"
            ) from failure
        if failures >= ATTEMPTS:
            raise SetAside(f"failed {failures} times: {failure}") from failure

    async def answers(self) -> bool:
        """Whether any server gives a word."""
        words = await asyncio.gather(*(server.gives_a_word(self.model.name) for server in self.servers))
        return any(words)
