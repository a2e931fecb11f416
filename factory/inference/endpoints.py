"""The only way to call a model: OpenAI-compatible servers, whoever started them.

A model may have several base URLs: each gets as many requests as it handles well (`concurrency.py`), the next request
goes to the one with the most free capacity, and one that keeps failing is paused for longer and longer. Temporary
failures are retried; permanent ones stop the run (a wrong key) or set the prompt aside (too long).
"""

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from factory.inference.client import exchange
from factory.inference.failures import Failure, wait_s
from factory.inference.journal import Choice, Reply
from factory.inference.refusals import clock_time, end_of_run, names_the_prompt, refused_parameter
from factory.inference.servers import Server
from schemas.errors import FactoryError
from schemas.tables import Message, Model

ATTEMPTS = 8
GONE_AFTER = 7
"""Pauses in a row, about a minute, after which a server counts as down."""
DEAD_AFTER_S = 90.0
"""A model that only fails for this long is probed; if it does not respond, the run ends."""
ALIKE = 10
"""Requests refused with the same words, before any such request was answered, after which the run ends."""
TOLD_WAIT_S = 60.0
"""A server's `Retry-After` from this on is told."""


class SetAside(Exception):
    """A request that can never be answered: the prompt is set aside with this reason, and the run continues."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample a reply."""

    temperature: float
    top_p: float
    max_tokens: int
    n: int
    response_format: dict[str, Any] | None = None  # in OpenAI's format; None: free text
    logprobs: bool = False  # request the log-probability of each token
    top_logprobs: int | None = None  # and of this many alternatives

    def parameters(self) -> dict[str, Any]:
        """The parameters in a call's row and its request hash, by OpenAI's names; `n` has its own column.

        An unset option has no key, so that new options do not change the hashes of older requests.
        """
        sent: dict[str, Any] = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
        }
        if self.response_format is not None:
            sent["response_format"] = self.response_format
        if self.logprobs or self.top_logprobs is not None:
            sent["logprobs"] = True  # OpenAI requires it for top_logprobs
        if self.top_logprobs is not None:
            sent["top_logprobs"] = self.top_logprobs
        return sent


@dataclass(frozen=True, slots=True)
class Listeners:
    """Callbacks for events at an endpoint."""

    on_reply: Callable[[Reply], None] = lambda reply: None
    on_failure: Callable[[Failure], None] = lambda failure: None
    on_status: Callable[[str], None] = lambda message: None
    """receives status messages while a server starts"""
    on_note: Callable[[str], None] = lambda note: None
    """receives warnings that do not stop the run"""


@dataclass(slots=True, eq=False)
class Endpoint:
    """A model on one or more servers."""

    role: str
    model: Model
    servers: list[Server]
    context_tokens: int | None
    listeners: Listeners = Listeners()
    tokenize_url: str | None = None
    """counts a text's tokens, for servers whose `usage` covers one choice only (llama.cpp)"""
    parameters: Mapping[str, str | None] = field(default_factory=dict)
    """those of a request that are sent under another name; None: not at all"""
    base: "Endpoint | None" = None
    """the model without its adapter, on the same servers"""
    _answered: set[str] = field(default_factory=set)
    """samplings with which a request was answered"""
    _refused: Counter[str] = field(default_factory=Counter)
    """requests by what refused them, for samplings that are not answered yet"""
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    _timer: asyncio.TimerHandle | None = None
    _stopped: str | None = None
    """why no more requests are sent"""

    @property
    def in_flight(self) -> int:
        return sum(server.pace.in_flight for server in self.servers)

    @property
    def limit(self) -> int:
        return sum(server.pace.limit for server in self.servers)

    @property
    def most(self) -> int:
        """The most requests in flight that the recipe allows."""
        return sum(server.pace.most for server in self.servers)

    @property
    def last_answer_s(self) -> float:
        return max(server.last_answer_s for server in self.servers)

    def asked(self, sampling: Sampling) -> dict[str, Any]:
        """The sampling's parameters that are sent, by OpenAI's names: as in a call's row and its request hash."""
        return {name: value for name, value in sampling.parameters().items() if self.parameters.get(name, name)}

    def body(self, messages: Sequence[Message], sampling: Sampling, seed: int) -> dict[str, Any]:
        """The body of a request for all choices at once, its parameters by OpenAI's names."""
        return {
            "model": self.model.name,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            **sampling.parameters(),
            "n": sampling.n,
            "seed": seed,
        }

    async def ask(
        self, messages: list[Message], sampling: Sampling, seed: int, write_down: Callable[[Reply], Awaitable[None]]
    ) -> Reply:
        """Asks until all `sampling.n` choices are there.

        Args:
            write_down: stores the reply while the request still holds its slot.
        Raises:
            SetAside: the endpoint permanently refuses this request, or it failed ATTEMPTS times.
            FactoryError: the endpoint is down, or refuses what no prompt decides: the key, the model, a parameter; or
                `write_down` raised it.
        """
        body = self.body(messages, sampling, seed)
        choices: list[Choice] = []
        prompt_tokens: int | None = 0
        completion_tokens: int | None = 0
        latency_s, retries, failures = 0.0, 0, 0
        first_failure_s: float | None = None
        while True:
            # A server may return fewer choices than requested: the rest need another seed.
            left = sampling.n - len(choices)
            try:
                async with self._place() as server:
                    with_n = server.names.get("n", "n") is not None
                    started_s = time.monotonic()
                    got, read_tokens, tokens = await server.send(
                        {**body, "n": left, "seed": (seed + len(choices)) & 0x7FFFFFFF}
                    )
                    answered_s = time.monotonic()
                    server.pace.answered(answered_s, answered_s - started_s, wanted=bool(self._waiting))
                    if len(got) > 1 and self.tokenize_url:
                        got = list(await asyncio.gather(*(self._counted(server, choice) for choice in got)))
                        tokens = sum(choice.tokens or 0 for choice in got)
                    latency_s += time.monotonic() - started_s
                    choices += got[:left]
                    prompt_tokens, completion_tokens = _sum(prompt_tokens, read_tokens), _sum(completion_tokens, tokens)
                    if len(choices) == sampling.n:
                        reply = Reply(choices, prompt_tokens, completion_tokens, latency_s, retries, server.address)
                        await write_down(reply)
                        self._answered.add(repr(sampling))
                        self.listeners.on_reply(reply)
                        return reply
            except Failure as failed:
                if with_n and refused_parameter(failed) == "n":
                    server.names = {**server.names, "n": None}  # the choices are asked for one by one
                    continue
                self.listeners.on_failure(failed)
                retries += 1
                failures += failed.status != 429  # being told to wait is not the request's fault
                first_failure_s = first_failure_s or time.monotonic()
                self._tell_wait(failed, server)
                try:
                    self._end_if_all_are_refused(failed, server, sampling)
                    await self._give_up_if_hopeless(failed, server, failures, first_failure_s)
                except FactoryError as error:
                    self.stop(str(error))  # at once: its slot has gone to a request that would be paid for and lost
                    raise
                await asyncio.sleep(min(wait_s(retries, failed), server.max_wait_s))

    async def _counted(self, server: Server, choice: Choice) -> Choice:
        """The choice with its number of tokens: its thinking's and text's, and the one that ended it."""
        written = {"content": choice.reasoning + choice.text}
        document = await exchange(server.client, self.tokenize_url or "", server.timeout_s, written)
        return replace(choice, tokens=len(document["tokens"]) + (choice.finish_reason == "stop"))

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[Server]:
        """A slot for one request at a server."""
        server = await self._room()
        try:
            yield server
        except FactoryError as error:
            self.stop(str(error))  # the journal cannot be written: further replies would be lost too
            raise
        except BaseException:
            self._leave(server)
            raise
        self._leave(server)

    def stop(self, reason: str) -> None:
        """Sends no more requests: the run ends, and their replies would be paid for and lost.

        All that wait are told the first reason given.
        """
        self._stopped = self._stopped or reason
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def _leave(self, server: Server) -> None:
        server.pace.in_flight -= 1
        self._wake()

    async def _room(self) -> Server:
        """A slot at the least busy server; requests wait in order of arrival."""
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
            # One that was woken too late goes back to the front of the queue.
            self._waiting.appendleft(waiter) if waited else self._waiting.append(waiter)
            waited = True
            self._wake()
            try:
                await waiter
            except asyncio.CancelledError:
                self._wake()  # pass its slot on
                raise

    def _wake(self) -> None:
        """Wakes one waiting request per free slot; if servers are paused, tries again when the first is back."""
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

    def _end_if_all_are_refused(self, failure: Failure, server: Server, sampling: Sampling) -> None:
        """A refusal whose words nobody knows is the prompt's, unless every prompt gets it."""
        if not failure.is_refusal or names_the_prompt(failure) or repr(sampling) in self._answered:
            return
        words = f"{sampling} {re.sub('[0-9]+', '0', failure.said)}"
        self._refused[words] += 1
        if self._refused[words] == ALIKE:
            raise FactoryError(
                f"{server.address} has refused {ALIKE} requests alike and answered none of their kind ({failure}): change "
                "what it objects to, then run `factory resume --retry-set-aside`"
            ) from failure

    async def _give_up_if_hopeless(
        self, failure: Failure, server: Server, failures: int, first_failure_s: float
    ) -> None:
        if (sentence := end_of_run(failure, server.address, self.role, self.model.name)) is not None:
            raise FactoryError(sentence) from failure
        if failure.is_refusal:
            raise SetAside(f"refused ({failure})") from failure
        silent_s = time.monotonic() - self.last_answer_s
        gone = all(s.pauses >= GONE_AFTER for s in self.servers) or silent_s > DEAD_AFTER_S
        if failures < ATTEMPTS and not gone:
            return
        # If no other request was answered meanwhile, the servers may be down rather than this request bad.
        suspect = gone or self.last_answer_s <= first_failure_s
        if suspect and not await self.answers():
            if (asked_s := failure.retry_after_s or 0.0) > server.max_wait_s:
                raise FactoryError(
                    f"{server.address} asks to wait until {clock_time(asked_s)} ({failure}): run `factory resume` then, "
                    f"or let the run wait that long (-o models.{self.role}.max_retry_after_s={asked_s:.0f})"
                ) from failure
            raise FactoryError(
                f"{' and '.join(s.address for s in self.servers)} has not answered for {silent_s:.0f} s "
                f"({failure}): check that it is running, then run `factory resume`"
            ) from failure
        if failures >= ATTEMPTS:
            raise SetAside(f"failed {failures} times: {failure}") from failure

    def _tell_wait(self, failure: Failure, server: Server) -> None:
        """Tells a long pause once, however many requests were asked to wait."""
        asked_s, now_s = failure.retry_after_s or 0.0, time.monotonic()
        if asked_s < TOLD_WAIT_S or now_s < server.told_until_s:
            return
        waits_s = min(asked_s, server.max_wait_s)
        server.told_until_s = now_s + waits_s
        again = "" if waits_s == asked_s else f"; it is asked again at {clock_time(waits_s)} (max_retry_after_s)"
        self.listeners.on_note(f"{server.address} asks to wait until {clock_time(asked_s)} ({failure}){again}")

    async def answers(self) -> bool:
        """Whether any server responds."""
        return any(await asyncio.gather(*(server.responds(self.model.name) for server in self.servers)))


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
