"""Score: a language model gives points several times, and their mean counts.

`rubric`: 0 to 5 points, one for each criterion met (additive scoring; Self-Rewarding, arXiv:2401.10020). `ten`: 1 to 10,
the expectation over the digits' log-probabilities if the endpoint returns them (arXiv:2309.00267), else the number
written. Where log-probabilities are required and no number was written, those of the first word's alternatives count.
"""

import re
from typing import Annotated, Any, Literal

from factory.inference.journal import Choice
from factory.inference.logprobs import digit_expectation, opening_probabilities
from factory.templates.rendering import TemplateUse, conversation, render
from factory.work.context import Context, Work
from factory.work.insisting import ALTERNATIVES, Logprobs, about_logprobs, insist
from factory.work.judging import Judge, Judged, JudgeSettings
from factory.work.stage import TopP, sampling_of
from factory.work.verdict_text import bare
from schemas.settings import about
from schemas.tables import Call, Message

_BOUNDS = {"rubric": (0, 5), "ten": (1, 10)}
_MARKER = (
    r"(?:score|rating|total|grade|points?(?=\W{0,4}[:：=])|评分|得分|分数|打分|評点|スコア|点数|점수|punktzahl|bewertung|puntuaci[oó]n|"
    r"calificaci[oó]n|pontuação|punteggio|оценка)"
)
_NUMBER = r"(?<![\d.])(\d{1,4}(?:[.,]\d{1,4})?)(?:\s?(?:/|out of|von|sur|de|из)\s?(\d{1,4}))?"
_NO_MORE = r"(?!\s?[%\d/]|[.,]\d|\s?(?:-|–|—|to|or|~)\s?\d)"
_MARKED = re.compile(
    rf"{_MARKER}(?:\s?\([^()\n]{{1,40}}\))?(?:(?:\s(?:is|of))?\W|_){{0,9}}?(?<![\d.])(?<![^\s\d][-−]|\s[-−]){_NUMBER}{_NO_MORE}",
    re.IGNORECASE,
)
_ALONE = re.compile(
    rf"\s*(?:[^\w\-−]|_){{0,9}}{_NUMBER}(?:\s?(?:points?|分|点|점))?(?:[^\w/%]|_){{0,9}}\s*", re.IGNORECASE
)
_UNFINISHED = re.compile(rf"{_MARKER}[^\w\n]*$", re.IGNORECASE)


class Settings(JudgeSettings, frozen=True, kw_only=True):
    """A model that gives points."""

    kind: Annotated[Literal["score"], about("the kind of judge")] = "score"
    model: Annotated[str, about("the role of the model that scores")] = "refiner"
    scale: Annotated[
        Literal["rubric", "ten"], about("rubric: 0 to 5 points, one per criterion; ten: 1 to 10", "arXiv:2401.10020")
    ] = "rubric"
    n: Annotated[int, about("the number of scores per response; their mean counts", "arXiv:2401.10020", least=1)] = 3
    pass_points: (
        Annotated[float, about("the mean points that pass a response; none: points do not decide", least=0)] | None
    ) = None
    temperature: Annotated[float, about("sampling temperature", least=0, most=2)] = 0.7
    top_p: Annotated[float, TopP] = 1.0
    max_tokens: Annotated[int, about("the maximum number of tokens per score", least=1)] = 1024
    logprobs: Annotated[Logprobs, about_logprobs("the digits'", "on the scale ten")] = True

    def __post_init__(self) -> None:
        least, most = _BOUNDS[self.scale]
        if self.pass_points is not None and not least <= self.pass_points <= most:
            raise ValueError(f"pass_points must be in [{least}, {most}] on the scale {self.scale}: {self.pass_points}")
        if self.logprobs == "required" and self.scale != "ten":
            raise ValueError("logprobs is read on the scale ten alone: set scale: ten")

    def templates(self) -> dict[str, TemplateUse]:
        default = "score" if self.scale == "rubric" else "score_ten"
        return {"score": TemplateUse(default, ("prompt", "response", "reference"))}

    def can_fail(self) -> bool:
        return self.pass_points is not None


async def judge(
    context: Context, judge: Judge, work: Work, response_id: str, text: str
) -> tuple[list[Judged], list[Call]]:
    """Scores a text; one request asks for all scores.

    Raises:
        FactoryError: log-probabilities are required, and the endpoint returns none.
    """
    prompt, settings, template = work.prompt, judge.settings, judge.templates["score"]
    assert isinstance(settings, Settings)
    question = render(
        template.text, prompt=conversation(prompt.messages), response=text, reference=prompt.reference or ""
    )
    digits: dict[str, Any] = ALTERNATIVES if settings.scale == "ten" and settings.logprobs else {}
    answered = await context.ask(
        prompt,
        settings.model,
        [Message("user", question)],
        sampling_of(settings, settings.n, **digits),
        template=template.name,
        response_ids=(response_id,),
    )
    if settings.scale == "ten":
        insist(answered.reply.choices, settings.logprobs, f"judge {judge.name}")
    least, most = _BOUNDS[settings.scale]
    scores = []
    for choice in answered.reply.choices:
        points, probabilities = _points(choice, least, most, settings.scale == "ten", settings.logprobs == "required")
        value = None if points is None else (points - least) / (most - least)
        verdict = "unparsed" if points is None else None
        scores.append(
            Judged(verdict, choice.text, value, points, settings.pass_points, probabilities, answered.call.call_id)
        )
    return scores, [answered.call]


def _points(
    choice: Choice, least: int, most: int, expected: bool, required: bool
) -> tuple[float | None, dict[str, float] | None]:
    found = find_points(choice.text, least, most, choice.finish_reason)
    if found is None:
        return _opening_points(choice, least, most) if required else (None, None)
    points, at = found
    if expected and choice.logprobs and (read := digit_expectation(choice.logprobs, at, least, most)) is not None:
        probabilities, mean = read
        return mean, probabilities
    return (None if required else points), None


def _opening_points(choice: Choice, least: int, most: int) -> tuple[float | None, dict[str, float] | None]:
    """The expectation over the numbers among the first word's alternatives, whatever was written (arXiv:2309.00267, 2.3)."""
    shares = opening_probabilities(choice.logprobs or (), [str(number) for number in range(least, most + 1)]) or {}
    if "10" not in shares:
        shares.pop("1", None)  # it may begin a 10
    total = sum(shares.values())
    if not total:
        return None, None
    probabilities = {label: share / total for label, share in shares.items()}
    return sum(int(label) * share for label, share in probabilities.items()), probabilities


def find_points(text: str, least: int, most: int, finish_reason: str | None = None) -> tuple[float, int] | None:
    """The number after the last 'Score' or 'Rating', or that is the whole text, and its position.

    None if there is no such number between `least` and `most`: a share of another whole ('8/10' of 5 points), a range, a
    negative number or one that was cut off is not it.
    """
    text = bare(text)
    *_, marked = [None, *_MARKED.finditer(text)]
    found = marked or _ALONE.fullmatch(text)
    cut = finish_reason == "length" and (_UNFINISHED.search(text) or (marked and marked.end() == len(text)))
    if found is None or cut or (found[2] and int(found[2]) != most):
        return None
    points = float(found[1].replace(",", "."))
    return (points, found.start(1)) if least <= points <= most else None
