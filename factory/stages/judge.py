"""Judge: votes of a language model, the verifier of the prompt's own constraints, or both.

The verifier decides where it can judge; votes beside it are recorded and tell how well the model judges.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from factory.inference.endpoints import Sampling, SetAside
from factory.judges.verdicts import VERDICT_FORMAT, Verdict, Vote, is_settled, majority, read_json_vote, read_verdict
from factory.recipes.recipe import JudgeSettings
from factory.runs.pairs import pair_of
from factory.templates.rendering import conversation, render
from factory.verifier.constraints import verify
from factory.work.context import Context, Work
from schemas.ids import content_id, sha256_text
from schemas.tables import Call, Judgement, Message, Pair, Prompt, Response


@dataclass(frozen=True, slots=True)
class Opinion:
    """All that was said of one text: its judgements (for `response_id`) and the calls that they came from."""

    judgements: list[Judgement]
    calls: list[Call]

    @property
    def deciding(self) -> list[Judgement]:
        return [judgement for judgement in self.judgements if judgement.decides]

    @property
    def verdict(self) -> Verdict:
        return majority([Vote(j.verdict, j.critique, j.score) for j in self.deciding])

    @property
    def critique(self) -> Judgement | None:
        """The judgement to refine from: the first that finds fault, else the first that can be read."""
        readable = [j for j in self.deciding if j.verdict != "unparsed"]
        return next((j for j in readable if j.verdict == "no"), readable[0] if readable else None)

    def of(self, run_id: str, response_id: str) -> "Opinion":
        """The same opinion as that of a response of the same text."""
        judgements = [
            replace(j, response_id=response_id, judgement_id=_judgement_id(run_id, response_id, j))
            for j in self.judgements
        ]
        return Opinion(judgements, [replace(call, response_id=response_id) for call in self.calls])


def _judgement_id(run_id: str, response_id: str, judgement: Judgement) -> str:
    return content_id("judgement", run_id, response_id, judgement.judge, judgement.model_id, judgement.vote)


async def judge(context: Context, work: Work, settings: JudgeSettings) -> Work:
    """Judges every answer that lacks a verdict."""
    unjudged = [response for response in work.responses if response.response_id not in work.judgements]
    opinions = await asyncio.gather(
        *(judge_response(context, "judge", work.prompt, response, settings) for response in unjudged)
    )
    rows: list[Judgement | Call] = []
    for response, opinion in zip(unjudged, opinions, strict=True):
        if opinion is not None:
            work.judgements[response.response_id] = opinion.judgements
            rows += [*opinion.calls, *opinion.judgements]
    if rows:
        context.emit([*once(rows), *_control_pair(context, work)])
    return work


def _control_pair(context: Context, work: Work) -> list[Pair]:
    """A passing over a failing answer of the same prompt, both chosen by hash: what search is compared with."""
    verdicts = {id: Opinion(judgements, []).verdict for id, judgements in work.judgements.items()}
    ranked = sorted((r for r in work.responses if r.response_id in verdicts), key=lambda r: r.response_id)
    passing = [r for r in ranked if verdicts[r.response_id].passed]
    failing = [r for r in ranked if verdicts[r.response_id].passed is False]
    if not passing or not failing:
        return []
    chosen, rejected = passing[0], failing[0]
    values = verdicts[chosen.response_id].value, verdicts[rejected.response_id].value
    return [pair_of(context, chosen, values[0], rejected, values[1], source="sampling")]


def once(rows: Iterable[Judgement | Call]) -> list[Judgement | Call]:
    """Rows without repeated calls: answers of equal text share theirs, which names the first of them."""
    kept = {row.call_id if isinstance(row, Call) else row.judgement_id: row for row in reversed(list(rows))}
    return list(reversed(kept.values()))


async def judge_response(
    context: Context, stage: str, prompt: Prompt, response: Response, settings: JudgeSettings
) -> Opinion | None:
    """Judges one answer; None when the judging model cannot be asked (the call tells why)."""
    try:
        return await judge_text(context, stage, prompt, response.response_id, response.text, settings)
    except SetAside:
        return None


async def judge_text(
    context: Context, stage: str, prompt: Prompt, response_id: str, text: str, settings: JudgeSettings
) -> Opinion:
    """What the recipe's judges say of a text.

    Raises:
        SetAside: the judging model cannot be asked about it.
    """
    verified = settings.by != "votes" and bool(prompt.constraints)
    judgements: list[Judgement] = []
    calls: list[Call] = []
    if verified:
        verification = verify(prompt.constraints, text)
        vote = Vote("yes" if verification.passed else "no", verification.critique, verification.score)
        judgements += _rows(context, prompt, response_id, "verifier", True, [(vote, None)], None, None)
    if settings.by != "verifier":
        cast, calls = await _ask_votes(context, stage, prompt, response_id, text, settings)
        model_id = context.endpoints[settings.model].model.model_id
        template_hash = sha256_text(context.templates["judge"])
        judgements += _rows(context, prompt, response_id, "votes", not verified, cast, model_id, template_hash)
    return Opinion(judgements, calls)


async def _ask_votes(
    context: Context, stage: str, prompt: Prompt, response_id: str, text: str, settings: JudgeSettings
) -> tuple[list[tuple[Vote, str | None]], list[Call]]:
    messages = [Message("user", render(context.templates["judge"], conversation(prompt.messages), text))]
    in_json = settings.verdict == "json"
    response_format = VERDICT_FORMAT if in_json else None
    first = settings.first_votes or settings.votes
    rounds = [count for count in (first, settings.votes - first) if count]
    # A round more is asked for votes that tie, or of which none can be read.
    rounds += [settings.votes] * settings.retries
    cast: list[tuple[Vote, str | None]] = []
    calls: list[Call] = []
    for draw, count in enumerate(rounds):
        sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens, count, response_format)
        asked = await context.ask(
            stage, prompt, settings.model, messages, sampling, template="judge", response_id=response_id, draw=draw
        )
        calls.append(asked.call)
        texts = [choice.text for choice in asked.reply.choices]
        votes = [read_json_vote(text) if in_json else Vote(read_verdict(text), text) for text in texts]
        cast += [(vote, asked.call.call_id) for vote in votes]
        if is_settled([vote for vote, _ in cast], max(0, settings.votes - len(cast))):
            break
    return cast, calls


def _rows(
    context: Context,
    prompt: Prompt,
    response_id: str,
    judge: str,
    decides: bool,
    cast: Sequence[tuple[Vote, str | None]],
    model_id: str | None,
    template_hash: str | None,
) -> list[Judgement]:
    return [
        Judgement(
            judgement_id=content_id("judgement", context.run_id, response_id, judge, model_id, index),
            run_id=context.run_id,
            prompt_id=prompt.prompt_id,
            response_id=response_id,
            judge=judge,
            decides=decides,
            model_id=model_id,
            template_hash=template_hash,
            vote=index,
            verdict=vote.verdict,
            score=vote.score,
            critique=vote.critique,
            call_id=call_id,
        )
        for index, (vote, call_id) in enumerate(cast)
    ]
