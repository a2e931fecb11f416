"""What a stage has at hand: the run's recipe, its models, and where its rows go."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from factory.inference.budget import Spending
from factory.inference.endpoints import Endpoint, Sampling, SetAside, request_body
from factory.inference.journal import Journal, Reply
from factory.recipes.recipe import Recipe
from schemas.ids import canonical_json, content_id, messages_hash, seed_of
from schemas.tables import Call, Judgement, Message, Prompt, Response


@dataclass(slots=True)
class Work:
    """One prompt on its way through the stages, with what the lake already has of it."""

    prompt: Prompt
    position: int
    evolved: bool = False
    responses: list[Response] = field(default_factory=list)
    judgements: dict[str, list[Judgement]] = field(default_factory=dict)  # by response
    rooted: set[str] = field(default_factory=set)  # responses that have a tree


@dataclass(frozen=True, slots=True)
class Asked:
    """A reply and the row of its call."""

    reply: Reply
    call: Call


class Postponed(Exception):
    """A request that was written down and not sent: its prompt goes no further in this run."""


@dataclass(frozen=True, slots=True)
class Later:
    """For a run that sends nothing: what the journal cannot answer is answered later, by others."""

    recipe: Recipe
    """the order's, with those of its stages that are taken this way"""
    endpoints: dict[str, Endpoint]
    postpone: Callable[[str, str, dict[str, Any]], None]
    """takes a request: its model's role, its hash and its body"""


@dataclass(slots=True)
class Context:
    """A run, as its stages see it."""

    run_id: str
    recipe: Recipe
    templates: dict[str, str]
    seed: int
    endpoints: dict[str, Endpoint]
    journal: Journal
    emit: Callable[[Iterable[Any]], None]
    """takes rows that are committed together"""
    spending: Spending
    fresh: int = 0
    """0: an answer in the journal is used; n: everything is asked anew, for the n-th time"""
    later: Later | None = None
    """None: requests are sent"""
    _asking: dict[str, asyncio.Future[Reply]] = field(default_factory=dict)

    async def ask(
        self,
        stage: str,
        prompt: Prompt,
        role: str,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        template: str | None = None,
        response_id: str | None = None,
        draw: int = 0,
    ) -> Asked:
        """Asks the model of a role, or the journal where this was answered before.

        Args:
            draw: which independent draw of the very same question, from 0.
        Raises:
            SetAside: the request cannot be answered; its call is recorded with the reason.
            Postponed: it is answered later.
        """
        endpoint = self.endpoints[role]
        hashed = messages_hash(messages)
        seed = seed_of(self.seed, template or stage, hashed, draw)
        parameters: dict[str, Any] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
        }
        if sampling.response_format is not None:
            parameters["response_format"] = sampling.response_format
        asked_anew = [self.fresh] if self.fresh else []
        request_hash = content_id("request", endpoint.model.model_id, hashed, parameters, sampling.n, seed, *asked_anew)
        started_at = datetime.now(UTC)

        def call(reply: Reply | None, from_journal: bool, error: str | None = None) -> Call:
            return Call(
                call_id=content_id("call", self.run_id, request_hash),
                run_id=self.run_id,
                request_hash=request_hash,
                stage=stage,
                prompt_id=prompt.prompt_id,
                response_id=response_id,
                template=template,
                model_id=endpoint.model.model_id,
                endpoint=reply.endpoint if reply else endpoint.servers[0].address,
                messages_hash=hashed,
                parameters=canonical_json(parameters),
                seed=seed,
                choices=sampling.n,
                prompt_tokens=reply.prompt_tokens if reply else None,
                completion_tokens=reply.completion_tokens if reply else None,
                latency_s=reply.latency_s if reply else None,
                retries=reply.retries if reply else 0,
                finish_reasons=[choice.finish_reason or "unknown" for choice in reply.choices] if reply else [],
                error=error,
                from_journal=from_journal,
                started_at=started_at,
            )

        if found := self.journal.find(request_hash):
            return Asked(found, call(found, True))
        if under_way := self._asking.get(request_hash):
            return Asked(await asyncio.shield(under_way), call(await under_way, False))
        self.spending.begin()
        if self.later is not None:
            self.later.postpone(role, request_hash, request_body(endpoint.model, messages, sampling, seed))
            raise Postponed
        answer = self._asking[request_hash] = asyncio.ensure_future(
            self._answer(role, list(messages), sampling, seed, request_hash)
        )
        try:
            reply = await answer
        except SetAside as error:
            self.emit([call(None, False, str(error))])
            raise
        finally:
            del self._asking[request_hash]
        return Asked(reply, call(reply, False))

    async def _answer(
        self, role: str, messages: list[Message], sampling: Sampling, seed: int, request_hash: str
    ) -> Reply:
        paid = None

        async def write_down(reply: Reply) -> None:
            nonlocal paid
            paid = reply
            await self.journal.record(request_hash, reply, self.run_id, role)

        try:
            return await self.endpoints[role].ask(messages, sampling, seed, write_down)
        finally:
            self.spending.end(role, paid)

    async def settle(self) -> None:
        """Waits for what is under way: it is paid, so it is written down."""
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
