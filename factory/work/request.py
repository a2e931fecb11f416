"""A request to a model, its answer, and the row that records both."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from factory.inference.endpoints import Endpoint, Sampling
from factory.inference.journal import Reply
from schemas.ids import canonical_json, content_id, messages_hash, seed_of
from schemas.tables import Call, Message, Prompt


@dataclass(frozen=True, slots=True)
class Request:
    """What a model is asked for a prompt."""

    stage: str
    """name of the stage that asks"""
    prompt: Prompt
    role: str
    """the model's role in the recipe"""
    messages: Sequence[Message]
    sampling: Sampling
    template: str | None = None
    """the run's template that rendered the messages; None: they are the prompt's own"""
    response_ids: tuple[str, ...] = ()
    """the responses it is about, in the order the template shows them"""
    draw: int = 0
    """which independent draw of the same question, from 0"""


@dataclass(frozen=True, slots=True)
class Hashed:
    """A request with its seed and its hash, which is its answer's key in the journal."""

    request: Request
    messages_hash: str
    seed: int
    request_hash: str


def hashed(request: Request, endpoint: Endpoint, run_seed: int, fresh: int) -> Hashed:
    """Hashes everything that decides a request's answer.

    Args:
        fresh: 0, or n for the n-th rerun that ignores the journal.
    """
    messages = messages_hash(request.messages)
    seed = seed_of(run_seed, request.template or request.stage, messages, request.draw)
    asked = [endpoint.model.model_id, messages, endpoint.asked(request.sampling), request.sampling.n, seed]
    return Hashed(request, messages, seed, content_id("request", *asked, *([fresh] if fresh else [])))


@dataclass(frozen=True, slots=True)
class Answered:
    """A reply and the row of its call."""

    reply: Reply
    call: Call


def call_row(
    run_id: str,
    asked: Hashed,
    endpoint: Endpoint,
    reply: Reply | str,
    *,
    from_journal: bool,
    started_at: datetime,
    note: str | None = None,
) -> Call:
    """A call's row.

    Args:
        reply: the reply, or why there is none.
        note: what was odd before it was asked.
    """
    request, answered = asked.request, None if isinstance(reply, str) else reply
    return Call(
        call_id=content_id("call", run_id, asked.request_hash),
        run_id=run_id,
        request_hash=asked.request_hash,
        stage=request.stage,
        role=request.role,
        prompt_id=request.prompt.prompt_id,
        response_ids=list(request.response_ids),
        template=request.template,
        model_id=endpoint.model.model_id,
        endpoint=answered.endpoint if answered else endpoint.servers[0].address,
        messages_hash=asked.messages_hash,
        parameters=canonical_json(endpoint.asked(request.sampling)),
        seed=asked.seed,
        choices=request.sampling.n,
        prompt_tokens=answered.prompt_tokens if answered else None,
        completion_tokens=answered.completion_tokens if answered else None,
        latency_s=answered.latency_s if answered else None,
        retries=answered.retries if answered else 0,
        finish_reasons=[choice.finish_reason or "unknown" for choice in answered.choices] if answered else [],
        reasonings=answered.reasonings if answered else None,
        note="; ".join(filter(None, [note, answered.note if answered else None])) or None,
        error=reply if isinstance(reply, str) else None,
        from_journal=from_journal,
        started_at=started_at,
    )
