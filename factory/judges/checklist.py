"""Checklist: a language model scores each item of the prompt's checklist from 0 to 100 (RLCF, arXiv:2507.18624), or says in one
word whether the answer meets it, whose probability is then the score.

One judgement per item and score, with the item and its weight; the verdict's value is the mean of the items' means, by
weight. The items are those that the recipe's stages `checklist` wrote for the prompt; without one, nothing is judged.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from factory.inference.journal import Choice
from factory.judges.score import find_points
from factory.judges.votes import read_word_vote
from factory.templates.rendering import TemplateUse, conversation, render
from factory.work.asker import all_of
from factory.work.context import Context, Work
from factory.work.insisting import ALTERNATIVES, Logprobs, about_logprobs, insist
from factory.work.judging import Judge, Judged, JudgeSettings
from factory.work.stage import TopP, sampling_of
from schemas.settings import about
from schemas.tables import Call, ChecklistItem, Message

RLCF = "RLCF, arXiv:2507.18624"
MOST = 100


class Settings(JudgeSettings, frozen=True, kw_only=True):
    """A model that scores a checklist's items."""

    needs: ClassVar[Mapping[str, str]] = {**JudgeSettings.needs, "checklist": "write the items it judges by"}

    kind: Annotated[Literal["checklist"], about("the kind of judge")] = "checklist"
    model: Annotated[str, about("the role of the model that scores")] = "refiner"
    n: Annotated[int, about("the number of scores per item; their mean counts", RLCF, least=1)] = 25
    temperature: Annotated[float, about("sampling temperature", least=0, most=2)] = 1.0
    top_p: Annotated[float, TopP] = 1.0
    max_tokens: Annotated[int, about("the maximum number of tokens per score", least=1)] = 16
    scale: Annotated[
        Literal["hundred", "word"],
        about("a number from 0 to 100, or yes or no: 100 times the probability of yes, which suits small models"),
    ] = "hundred"
    logprobs: Annotated[Logprobs, about_logprobs("a word's")] = True

    def __post_init__(self) -> None:
        if self.logprobs == "required" and self.scale != "word":
            raise ValueError("logprobs is read on the scale word alone: set scale: word")

    def templates(self) -> dict[str, TemplateUse]:
        default = "item" if self.scale == "hundred" else "item_word"
        return {"item": TemplateUse(default, ("prompt", "response", "item", "reference"))}

    def can_fail(self) -> bool:
        return False


async def judge(
    context: Context, judge: Judge, work: Work, response_id: str, text: str
) -> tuple[list[Judged], list[Call]]:
    """Scores a text by each item; one request asks for all scores of an item."""
    items = sorted(work.made.get(ChecklistItem, ()), key=lambda item: (item.stage, item.position))
    asked = await all_of(_scores(context, judge, work, item, response_id, text) for item in items)
    return [score for scores, _ in asked for score in scores], [call for _, call in asked]


async def _scores(
    context: Context, judge: Judge, work: Work, item: ChecklistItem, response_id: str, text: str
) -> tuple[list[Judged], Call]:
    settings, template, prompt = judge.settings, judge.templates["item"], work.prompt
    assert isinstance(settings, Settings)
    question = render(
        template.text,
        prompt=conversation(prompt.messages),
        response=text,
        item=item.text,
        reference=prompt.reference or "",
    )
    by_word = settings.scale == "word"
    more: dict[str, Any] = ALTERNATIVES if by_word and settings.logprobs else {}
    answered = await context.ask(
        prompt,
        settings.model,
        [Message("user", question)],
        sampling_of(settings, settings.n, **more),
        template=template.name,
        response_ids=(response_id,),
    )
    if by_word:
        insist(answered.reply.choices, settings.logprobs, f"judge {judge.name}")
    read = _read_word if by_word else _read_number
    scores = [
        replace(read(choice), call_id=answered.call.call_id, item_id=item.item_id, weight=item.weight)
        for choice in answered.reply.choices
    ]
    return scores, answered.call


def _read_number(choice: Choice) -> Judged:
    found = find_points(choice.text, 0, MOST, choice.finish_reason)
    if found is None:
        return Judged("unparsed", choice.text, None)
    return Judged(None, choice.text, found[0] / MOST, found[0])


def _read_word(choice: Choice) -> Judged:
    vote = read_word_vote(choice)
    return vote if vote.value is None else replace(vote, verdict=None, points=MOST * vote.value)
