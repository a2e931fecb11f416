"""How a stage asks a model: the journal first, then an identical request in flight, then the endpoint."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from factory.inference.budget import Spending
from factory.inference.endpoints import Endpoint, SetAside
from factory.inference.journal import Journal, Reply
from factory.inference.servers import renamed
from factory.work.request import Answered, Hashed, Request, call_row, hashed
from factory.work.textless import Textless
from schemas.tables import Call

Found = TypeVar("Found")

Defer = Callable[[str, str, dict[str, Any]], None]
"""Takes a deferred request: its model's role, its hash and its body."""


UNREADABLE = "its answer in the journal is damaged and could not be read, so it was asked again"


class RequestDeferred(Exception):
    """The request was recorded, not sent; its prompt stops here for now."""


@dataclass(slots=True)
class Asker:
    """A run's models, and everything that decides whether and how they are asked."""

    run_id: str
    seed: int
    endpoints: dict[str, Endpoint]
    journal: Journal
    spending: Spending
    sink: Callable[[Iterable[Any]], None]
    """commits these rows together"""
    fresh: int = 0
    """0: answers in the journal are used; n: the n-th rerun that ignores them"""
    defer: Defer | None = None
    """None: requests are sent"""
    set_aside: dict[str, str] = field(default_factory=dict)
    """why a request was given up, by the prompt's id: the first of each"""
    textless: dict[str, Textless] = field(default_factory=dict)
    """by sampling stage"""
    _asking: dict[str, asyncio.Future[Reply]] = field(default_factory=dict)
    _unwritten: dict[str, Call] = field(default_factory=dict)
    """calls that were paid for and that no stage has emitted yet, by their ids"""

    async def ask(self, request: Request) -> Answered:
        """Answers a request from the journal, an identical request in flight, or the endpoint.

        Raises:
            SetAside: the request cannot be answered; its call is recorded with the reason.
            RequestDeferred: it was recorded to be answered later.
        """
        endpoint = self.endpoints[request.role]
        asked = hashed(request, endpoint, self.seed, self.fresh)
        started_at = datetime.now(UTC)

        def row(reply: Reply | str, from_journal: bool = False) -> Call:
            note = UNREADABLE if asked.request_hash in self.journal.unreadable else None
            return call_row(
                self.run_id, asked, endpoint, reply, from_journal=from_journal, started_at=started_at, note=note
            )

        if found := self.journal.find(asked.request_hash):
            # What this run paid for, and was killed before its row was written, is its own.
            return Answered(found, row(found, self.journal.payer(asked.request_hash) != self.run_id))
        if in_flight := self._asking.get(asked.request_hash):
            reply = await asyncio.shield(in_flight)
            return Answered(reply, row(reply))
        self.spending.begin()
        if self.defer is not None:
            body = endpoint.body(request.messages, request.sampling, asked.seed)
            self.defer(request.role, asked.request_hash, renamed(body, endpoint.parameters))
            raise RequestDeferred
        answer = self._asking[asked.request_hash] = asyncio.ensure_future(self._send(asked, row))
        try:
            reply = await answer
        except SetAside as error:
            self.sink([row(str(error))])
            self.set_aside.setdefault(request.prompt.prompt_id, str(error))
            raise
        finally:
            del self._asking[asked.request_hash]
        return Answered(reply, row(reply))

    def emit(self, rows: Iterable[Any]) -> None:
        """Writes rows in one commit."""
        rows = list(rows)
        for row in rows:
            if isinstance(row, Call):
                self._unwritten.pop(row.call_id, None)
        self.sink(rows)

    def emit_rest(self, prompt_ids: Collection[str]) -> None:
        """Writes the paid calls of prompts that no stage has emitted, because another call for the same row was set aside."""
        rest = [call for call in self._unwritten.values() if call.prompt_id in prompt_ids]
        if rest:
            self.emit(rest)

    async def _send(self, asked: Hashed, row: Callable[[Reply], Call]) -> Reply:
        """Sends a request; its reply is journaled before it is returned."""
        request, paid = asked.request, None

        async def record(reply: Reply) -> None:
            nonlocal paid
            paid = reply
            await self.journal.record(asked.request_hash, reply, self.run_id, request.role)
            call = row(reply)
            self._unwritten[call.call_id] = call

        try:
            endpoint = self.endpoints[request.role]
            return await endpoint.ask(list(request.messages), request.sampling, asked.seed, record)
        finally:
            self.spending.end(request.role, paid)

    async def settle(self) -> None:
        """Waits for requests in flight: they are paid for, so their replies belong in the journal."""
        await asyncio.gather(*self._asking.values(), return_exceptions=True)


async def all_of(asking: Iterable[Awaitable[Found]]) -> list[Found]:
    """What was asked at once. If one is set aside, the others are waited for: they are paid for.

    Raises:
        SetAside: the first of those that were set aside.
    """

    async def found_or_why(one: Awaitable[Found]) -> Found | SetAside:
        try:
            return await one
        except SetAside as error:
            return error

    found = []
    for one in await asyncio.gather(*map(found_or_why, asking)):
        if isinstance(one, SetAside):
            raise one
        found.append(one)
    return found
