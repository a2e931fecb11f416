"""Meta-judge: a model says which of two judgements of one answer is better (Meta-Rewarding, arXiv:2407.19594, 2.2).

Every two judgements of the answer on whose score its judge agrees least are compared in both orders; view `judgement_elo`
rates them. Judgements with the same text are one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import permutations
from statistics import pvariance
from typing import Annotated, Any, ClassVar, Literal

from factory.templates.rendering import TemplateUse, conversation, render
from factory.work.comparing import check_room, which_is_better
from factory.work.context import Context, Work
from factory.work.insisting import Logprobs, about_logprobs
from factory.work.judging import Judge, of_judges
from factory.work.stage import StageSettings, TopP
from schemas.ids import content_id, sha256_text
from schemas.settings import about
from schemas.tables import Call, Judgement, MetaJudgement, Response

ROWS = (MetaJudgement,)


class Settings(StageSettings, frozen=True, kw_only=True):
    """A model that compares judgements."""

    needs: ClassVar[Mapping[str, str]] = {"judge": "give the judgements to compare"}
    judged: ClassVar[bool] = True

    model: Annotated[str, about("the role of the model that compares")] = "refiner"
    judge: Annotated[str | None, about("the judge whose judgements are compared; none: the deciding one")] = None
    which: Annotated[
        Literal["most_varied", "every"],
        about(
            "whose judgements: of the prompt's answer whose scores vary most, or of every answer", "arXiv:2407.19594"
        ),
    ] = "most_varied"
    most: Annotated[int, about("judgements of an answer that are compared: the first; none: all", least=2)] | None = (
        None
    )
    reasons: Annotated[
        bool, about("whether it gives its reasons before the label; false: the label alone, which suits small models")
    ] = True
    votes: Annotated[int, about("the number of votes per order of two judgements", least=1)] = 1
    logprobs: Annotated[Logprobs, about_logprobs("the labels'")] = True
    temperature: Annotated[float, about("sampling temperature", least=0, most=2)] = 0.7
    top_p: Annotated[float, TopP] = 1.0
    max_tokens: Annotated[int, about("the maximum number of tokens per comparison", least=1)] = 512

    def __post_init__(self) -> None:
        check_room(self.reasons, self.max_tokens)

    def templates(self) -> dict[str, TemplateUse]:
        default = "meta_judge" if self.reasons else "meta_judge_word"
        return {"meta_judge": TemplateUse(default, ("prompt", "response", "first", "second", "reference"))}

    def check_judge(self, name: str, judge: Any) -> None:
        if judge.kind not in ("score", "votes"):
            raise ValueError(
                f"compares what a model wrote of whole answers, and judge {name!r} is of kind {judge.kind}: give it one of kind "
                "score or votes"
            )
        asked, times = ("n", judge.n) if judge.kind == "score" else ("votes", judge.votes)
        if times < 2:
            raise ValueError(
                f"compares judgements of one answer, and judge {name!r} gives only one: raise stages.{name}.{asked}"
            )


async def run(context: Context, work: Work, settings: Settings) -> Work:
    """Compares the judgements that this stage has not compared, in both orders."""
    made = work.made.setdefault(MetaJudgement, [])
    done = {(one.first_judgement_id, one.second_judgement_id) for one in made if one.stage == context.stage}
    orders = [
        (response, first, second)
        for response, judgements in to_compare(work, context.judges, settings)
        for first, second in permutations(judgements, 2)
        if (first.judgement_id, second.judgement_id) not in done
    ]
    compared = await asyncio.gather(*(_compare(context, work, *order, settings) for order in orders))
    found = [one for one in compared if one is not None]
    calls = {call.call_id: call for call, _ in found}
    rows = [row for _, row in found]
    made += rows
    if rows:
        context.emit([*calls.values(), *rows])
    return work


def to_compare(work: Work, judges: Sequence[Judge], settings: Settings) -> list[tuple[Response, list[Judgement]]]:
    """The answers whose judgements are compared, each with its readable judgements that differ in text, in order of vote.

    With `most_varied`, the one whose scores have the largest variance; of equal ones the one with the smallest id.
    """
    found = []
    for response in sorted(work.answers, key=lambda response: response.response_id):
        deciding = of_judges(work.judgements.get(response.response_id, []), judges).deciding
        values = {j.judgement_id: j.value for j in deciding if j.value is not None}
        distinct: dict[str, Judgement] = {}
        for judgement in sorted(deciding, key=lambda judgement: judgement.vote):
            if judgement.judgement_id in values:
                distinct.setdefault(judgement.critique, judgement)
        if len(distinct) > 1:
            found.append((pvariance(values.values()), response, list(distinct.values())[: settings.most]))
    if settings.which == "most_varied":
        found = sorted(found, key=lambda one: -one[0])[:1]
    return [(response, judgements) for _, response, judgements in found]


async def _compare(
    context: Context, work: Work, response: Response, first: Judgement, second: Judgement, settings: Settings
) -> tuple[Call, MetaJudgement] | None:
    """None if the comparing model cannot be asked (its call records why)."""
    prompt, template = work.prompt, context.templates["meta_judge"]
    question = render(
        template.text,
        prompt=conversation(prompt.messages),
        response=response.text,
        first=first.critique,
        second=second.critique,
        reference=prompt.reference or "",
    )
    found = await which_is_better(context, prompt, settings, template.name, question, (response.response_id,))
    if found is None:
        return None
    call, ids = found.answered.call, (first.judgement_id, second.judgement_id)
    row = MetaJudgement(
        meta_judgement_id=content_id("meta_judgement", context.run_id, context.stage, *ids),
        run_id=context.run_id,
        prompt_id=prompt.prompt_id,
        response_id=response.response_id,
        stage=context.stage,
        first_judgement_id=ids[0],
        second_judgement_id=ids[1],
        probability=found.probability,
        votes=found.votes,
        rationales=found.rationales,
        model_id=call.model_id,
        template_hash=sha256_text(template.text),
        call_id=call.call_id,
    )
    return call, row
