"""Claims: takes atomic claims out of each answer and says how far each is supported (FactTune, arXiv:2311.08401).

By a corpus (FactTune-FS; FActScore, arXiv:2305.14251): the passages of the lake's documents that BM25 finds are shown to
a checking model, which says whether they support the claim. By samples (FactTune-MC): the claim becomes a question, a
model answers it several times, and how far its answers agree is the claim's support.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from factory.documents.searching import Corpus, index_documents
from factory.inference.endpoints import Sampling, SetAside
from factory.templates.rendering import TemplateUse, conversation, render
from factory.work.asker import all_of
from factory.work.claim_text import group_answers, read_claims, read_question, read_support
from factory.work.context import Context, Work
from factory.work.insisting import ALTERNATIVES, Logprobs, about_logprobs, insist
from factory.work.request import Answered
from factory.work.stage import StageSettings, TopP
from schemas.ids import content_id, seed_of
from schemas.settings import about
from schemas.tables import Call, Claim, Evidence, Message, Response
from stores.lake import Lake

FACTTUNE = "FactTune, arXiv:2311.08401"
ROWS = (Claim,)


class Settings(StageSettings, frozen=True, kw_only=True):
    """Models that take claims out of answers and check them."""

    needs: ClassVar[Mapping[str, str]] = {"sample": "make the answers whose claims are checked"}
    on_answers: ClassVar[bool] = True

    method: Annotated[
        Literal["corpus", "samples"],
        about(
            "corpus: passages of the lake's documents support a claim; samples: a model's own answers agree", FACTTUNE
        ),
    ] = "corpus"
    model: Annotated[str, about("the role of the model that takes claims out and writes questions")] = "refiner"
    checker: (
        Annotated[str, about("the role of the model that checks claims against passages; none: the same")] | None
    ) = None
    answerer: Annotated[str, about("the role of the model that answers questions (samples)", FACTTUNE)] = "actor"
    most: Annotated[int, about("the maximum number of claims per answer; later ones are left out", least=1)] = 40
    temperature: Annotated[float, about("sampling temperature of all but short answers", least=0, most=2)] = 0.0
    top_p: Annotated[float, TopP] = 1.0
    max_tokens: Annotated[int, about("the maximum number of tokens per list of claims", least=1)] = 1024
    source: (
        Annotated[str, about("the corpus to check against (`factory documents` lists them); none: all documents")]
        | None
    ) = None
    passages: Annotated[int, about("passages shown to the checker (corpus)", "FActScore's code", least=1, most=50)] = 5
    passage_words: Annotated[int, about("the maximum number of words per passage", least=10, most=2000)] = 100
    votes: Annotated[int, about("the number of votes per claim (corpus)", least=1)] = 1
    logprobs: Annotated[Logprobs, about_logprobs("the verdicts'")] = True
    check_tokens: Annotated[int, about("the maximum number of tokens per verdict", least=1)] = 8
    question_tokens: Annotated[int, about("the maximum number of tokens per question", least=1)] = 64
    samples: Annotated[int, about("short answers per question (samples)", FACTTUNE, least=1)] = 20
    answer_temperature: Annotated[float, about("sampling temperature of short answers", FACTTUNE, least=0, most=2)] = (
        1.0
    )
    answer_top_p: Annotated[float, about("nucleus sampling of short answers", FACTTUNE, above=0, most=1)] = 0.9
    answer_tokens: Annotated[int, about("the maximum number of tokens per short answer", FACTTUNE, least=1)] = 15
    agreement: Annotated[
        Literal["largest", "squares", "entropy"],
        about(
            "support from the groups' shares p (samples): the largest, the sum of p², or 1 - entropy / log(samples)",
            FACTTUNE,
        ),
    ] = "largest"

    def roles(self) -> tuple[str, ...]:
        asked = self.answerer if self.method == "samples" else self.checker or self.model
        return tuple(dict.fromkeys((self.model, asked)))

    def insists_on(self) -> str | None:
        required = self.method == "corpus" and self.logprobs == "required"
        return (self.checker or self.model) if required else None

    def reads_documents(self) -> bool:
        return self.method == "corpus"

    def templates(self) -> dict[str, TemplateUse]:
        taken_out = {"claims": TemplateUse("claims", ("prompt", "response", "reference"))}
        if self.method == "corpus":
            return taken_out | {"claims_check": TemplateUse("claims_check", ("prompt", "claim", "passages"))}
        return taken_out | {
            "claims_question": TemplateUse("claims_question", ("prompt", "claim")),
            "claims_answer": TemplateUse("claims_answer", ("question",)),
        }


@dataclass(frozen=True, slots=True)
class _Checked:
    """What was found on one claim."""

    support: float | None
    evidence: list[Evidence]
    calls: list[Call]
    question: str | None = None
    model_id: str | None = None


def prepare(lake: Lake, run_id: str, settings: Settings) -> Corpus | None:
    """The index of the documents that claims are checked against; None if they are not.

    Raises:
        FactoryError: there are none.
    """
    return index_documents(lake, settings.source, settings.passage_words) if settings.method == "corpus" else None


async def run(context: Context, work: Work, settings: Settings) -> Work:
    """Checks the claims of every answer that has none of this stage's."""
    done = {claim.response_id for claim in work.made.get(Claim, ()) if claim.stage == context.stage}
    lacking = [response for response in work.answers if response.response_id not in done]
    found = await asyncio.gather(*(_claims_of(context, work, response, settings) for response in lacking))
    # Equal answers and equal claims share calls.
    calls = {call.call_id: call for _, calls in reversed(found) for call in reversed(calls)}
    claims = [claim for claims, _ in found for claim in claims]
    work.made.setdefault(Claim, []).extend(claims)
    if calls:
        context.emit([*calls.values(), *claims])
    return work


async def _claims_of(
    context: Context, work: Work, response: Response, settings: Settings
) -> tuple[list[Claim], list[Call]]:
    """An answer's claims, and all calls behind them; neither if a model cannot be asked (its call records why)."""
    try:
        shown = {"response": response.text, "reference": work.prompt.reference or ""}
        taken_out = await _ask(context, work, response, settings, "claims", shown, settings.max_tokens)
        choice = taken_out.reply.choices[0]
        texts = read_claims(choice.text, choice.finish_reason)[: settings.most]
        check = _by_passages if settings.method == "corpus" else _by_answers
        checked = await all_of(check(context, work, response, settings, text) for text in texts)
    except SetAside:
        return [], []
    claims = [
        Claim(
            claim_id=content_id("claim", context.run_id, context.stage, response.response_id, position),
            run_id=context.run_id,
            prompt_id=work.prompt.prompt_id,
            response_id=response.response_id,
            stage=context.stage,
            position=position,
            text=text,
            question=one.question,
            method=settings.method,
            support=one.support,
            evidence=one.evidence,
            model_id=one.model_id,
            call_ids=[taken_out.call.call_id, *(call.call_id for call in one.calls)],
        )
        for position, (text, one) in enumerate(zip(texts, checked, strict=True))
    ]
    return claims, [taken_out.call, *(call for one in checked for call in one.calls)]


async def _by_passages(context: Context, work: Work, response: Response, settings: Settings, claim: str) -> _Checked:
    """Shows the passages nearest to a claim to the checker; without any, the claim cannot be verified."""
    found = context.prepared.search(claim, settings.passages)
    evidence = [Evidence(one.passage.document_id, one.passage.text, one.score) for one in found]
    if not evidence:
        return _Checked(None, [], [])
    wanted = ALTERNATIVES if settings.logprobs else {}
    shown = {"claim": claim, "passages": passages_shown(evidence)}
    answered = await _ask(
        context, work, response, settings, "claims_check", shown, settings.check_tokens, settings.votes, wanted
    )
    insist(answered.reply.choices, settings.logprobs, f"stage {context.stage}")
    support = read_support(answered.reply.choices, settings.logprobs == "required")
    return _Checked(support, evidence, [answered.call], model_id=answered.call.model_id)


async def _by_answers(context: Context, work: Work, response: Response, settings: Settings, claim: str) -> _Checked:
    """Asks the question that a claim answers, several times."""
    asked = await _ask(context, work, response, settings, "claims_question", {"claim": claim}, settings.question_tokens)
    question = read_question(asked.reply.choices[0].text)
    if question is None:
        return _Checked(None, [], [asked.call])
    shown = {"question": question}
    answered = await _ask(
        context, work, response, settings, "claims_answer", shown, settings.answer_tokens, settings.samples
    )
    groups = group_answers(choice.text for choice in answered.reply.choices)
    shares = [group.weight or 0.0 for group in groups]
    calls = [asked.call, answered.call]
    return _Checked(agreement(shares, settings), groups, calls, question, answered.call.model_id)


async def _ask(
    context: Context,
    work: Work,
    response: Response,
    settings: Settings,
    template: str,
    shown: Mapping[str, str],
    max_tokens: int,
    n: int = 1,
    more: Mapping[str, Any] | None = None,
) -> Answered:
    """Asks what one of the stage's templates asks; each may show the prompt, too."""
    used = context.templates[template]
    role, temperature, top_p = settings.model, settings.temperature, settings.top_p
    if template == "claims_check":
        role = settings.checker or settings.model
    if template == "claims_answer":
        role, temperature, top_p = settings.answerer, settings.answer_temperature, settings.answer_top_p
    return await context.ask(
        work.prompt,
        role,
        [Message("user", render(used.text, prompt=conversation(work.prompt.messages), **shown))],
        Sampling(temperature, top_p, max_tokens, n, **(more or {})),
        template=used.name,
        response_ids=(response.response_id,),
        # Its own draw: a call belongs to one prompt, and the same claim or question may come up for another.
        draw=seed_of(work.prompt.prompt_id),
    )


def passages_shown(evidence: Sequence[Evidence]) -> str:
    """Passages as the checker reads them; view `call_messages` writes them alike."""
    return "\n\n".join(f"[{number}] {one.text}" for number, one in enumerate(evidence, 1))


def agreement(shares: Sequence[float], settings: Settings) -> float | None:
    """How far short answers agree (FactTune, 3.2), 0..1, from the shares of the groups of equal ones; None: there are none."""
    if not shares:
        return None
    if settings.agreement == "largest":
        return max(shares)
    if settings.agreement == "squares":
        return sum(share**2 for share in shares)
    entropy = -sum(share * math.log(share) for share in shares)
    return 1.0 if settings.samples == 1 else max(0.0, 1 - entropy / math.log(settings.samples))
