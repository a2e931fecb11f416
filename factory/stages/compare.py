"""Compare: which of two answers to a prompt is better, asked in both orders (RLAIF, arXiv:2309.00267).

The probability that the answer shown first is better comes from the log-probabilities of the labels '1' and '2' if the
endpoint returns them, else from the share of votes. Every pair of a prompt's sampled answers is compared.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Annotated, ClassVar, Literal

from factory.inference.endpoints import SetAside
from factory.inference.journal import Choice
from factory.inference.logprobs import label_probabilities, opening_probabilities
from factory.templates.rendering import TemplateUse, conversation, render
from factory.work.context import Context, Work
from factory.work.insisting import Logprobs, insist
from factory.work.stage import StageSettings, TopP, sampling_of
from factory.work.verdict_text import bare
from schemas.ids import content_id, sha256_text
from schemas.settings import about
from schemas.tables import Call, Comparison, Message, Response

_MARKED = re.compile(
    r"(?:preferred|preference|better(?: one)?|winner|final (?:verdict|judge?ment|answer|choice)|verdict|choice|prefer"
    r"|首选|更好|偏好|较好|優先|優れ|더 나은|bevorzugte?|bessere?|préférée?|meilleure?|preferida?|mejor|лучший)"
    r"(?:(?:\s+(?:is|ist|est|es))?\W|_){0,9}?(?:的)?(?:(?:response|answer|option|one|judge?ment|回答|回复|答案|antwort|réponse|respuesta|ответ)"
    r"(?:\s+(?:is|ist|est|es)|\s+(?:préférée?|preferida))?(?:[^\w\-]|_|是){0,9}){0,2}(?:[^\w\-]|_|是){0,9}(?<!\d)([12])(?![\d.]*\d)"
    r"(?!\s*(?:/|\||,|&|-|or\b|and\b|oder\b|或|和)\s*(?:response |answer )?[12])",
    re.IGNORECASE,
)
_ALONE = re.compile(
    r"\s*(?:[^\w\-]|_){0,9}(?:(?:response|answer|judge?ment)\W{1,9})?([12])(?:\W|_){0,9}\s*", re.IGNORECASE
)
_WORDS = {"1": "first", "2": "second"}


class Settings(StageSettings, frozen=True, kw_only=True):
    """A model that compares two answers."""

    needs: ClassVar[Mapping[str, str]] = {"sample": "make the answers to compare"}
    on_answers: ClassVar[bool] = True

    model: Annotated[str, about("the role of the model that compares")] = "refiner"
    which: Annotated[
        Literal["every", "paired"],
        about("which answers are compared: every two of a prompt, or the pairs of the run that `answers` names"),
    ] = "every"
    reasons: Annotated[
        bool, about("whether it gives its reasons before the label; false: the label alone, which suits small models")
    ] = True
    votes: Annotated[int, about("the number of votes per order of two answers", least=1)] = 1
    logprobs: Annotated[
        Logprobs,
        about(
            "whether to ask for the labels' log-probabilities; false if the endpoint refuses; required: the run ends if it "
            "returns none"
        ),
    ] = True
    temperature: Annotated[float, about("sampling temperature", least=0, most=2)] = 0.7
    top_p: Annotated[float, TopP] = 1.0
    max_tokens: Annotated[int, about("the maximum number of tokens per comparison", "arXiv:2309.00267", least=1)] = 512

    def templates(self) -> dict[str, TemplateUse]:
        return {
            "compare": TemplateUse(
                "compare" if self.reasons else "compare_word", ("prompt", "first", "second", "reference")
            )
        }


async def run(context: Context, work: Work, settings: Settings) -> Work:
    """Compares every pair of answers that this stage has not compared, in both orders.

    Raises:
        FactoryError: log-probabilities are required, and the endpoint returns none.
    """
    done = {(c.first_response_id, c.second_response_id) for c in work.comparisons if c.stage == context.stage}
    orders = [
        (first, second)
        for pair in combinations(work.answers, 2)
        if settings.which == "every" or frozenset(answer.response_id for answer in pair) in work.paired
        for first, second in (pair, pair[::-1])
        if (first.response_id, second.response_id) not in done
    ]
    compared = await asyncio.gather(*(_compare(context, work, first, second, settings) for first, second in orders))
    found = [one for one in compared if one is not None]
    # Equal answers share one call.
    calls = {call.call_id: call for call, _ in reversed(found)}
    comparisons = [comparison for _, comparison in found]
    work.comparisons += comparisons
    if comparisons:
        context.emit([*calls.values(), *comparisons])
    return work


async def _compare(
    context: Context, work: Work, first: Response, second: Response, settings: Settings
) -> tuple[Call, Comparison] | None:
    """None if the comparing model cannot be asked (its call records why)."""
    prompt, template = work.prompt, context.templates["compare"]
    question = render(
        template.text,
        prompt=conversation(prompt.messages),
        first=first.text,
        second=second.text,
        reference=prompt.reference or "",
    )
    # Without reasons the label may not be among the likeliest words; 20 is the most that OpenAI's endpoint returns.
    top = 5 if settings.reasons else 20
    logprobs = {"logprobs": True, "top_logprobs": top} if settings.logprobs else {}
    ids = (first.response_id, second.response_id)
    try:
        answered = await context.ask(
            prompt,
            settings.model,
            [Message("user", question)],
            sampling_of(settings, settings.votes, **logprobs),
            template=template.name,
            response_ids=ids,
        )
    except SetAside:
        return None
    choices, required = answered.reply.choices, settings.logprobs == "required"
    insist(choices, settings.logprobs, f"stage {context.stage}")
    comparison = Comparison(
        comparison_id=content_id("comparison", context.run_id, context.stage, *ids),
        run_id=context.run_id,
        prompt_id=prompt.prompt_id,
        stage=context.stage,
        first_response_id=ids[0],
        second_response_id=ids[1],
        probability=first_is_better(choices, settings.reasons, required),
        votes=[vote_of(choice, settings.reasons, required) for choice in choices],
        rationales=[choice.text for choice in choices],
        model_id=answered.call.model_id,
        template_hash=sha256_text(template.text),
        call_id=answered.call.call_id,
    )
    return answered.call, comparison


def first_is_better(choices: Sequence[Choice], reasons: bool = True, required: bool = False) -> float | None:
    """The probability that the answer shown first is better, averaged over the readable votes; None: none is readable.

    Args:
        required: whether a vote counts by its log-probabilities alone.
    """
    found = [probability for choice in choices if (probability := _probability(choice, reasons, required)) is not None]
    return fmean(found) if found else None


def _probability(choice: Choice, reasons: bool, required: bool) -> float | None:
    """Of one vote. Without reasons the labels' probabilities count as the first word, even if another was written."""
    if not reasons and choice.logprobs and (shares := opening_probabilities(choice.logprobs, ("1", "2"))):
        return shares.get("1", 0.0)
    label = find_label(choice.text)
    if label is None:
        return None
    written, at = label
    shares = label_probabilities(choice.logprobs, at, ("1", "2")) if choice.logprobs else None
    if not shares:
        return None if required else float(written == "1")
    return shares.get("1", 0.0)


def vote_of(choice: Choice, reasons: bool, required: bool = False) -> str:
    """first, second or unparsed: the label written or, without reasons, the likelier one."""
    probability = _probability(choice, reasons, required)
    if reasons and probability is not None:
        label = find_label(choice.text)
        return "unparsed" if label is None else _WORDS[label[0]]
    return "unparsed" if probability in (None, 0.5) else _WORDS["1" if probability > 0.5 else "2"]


def find_label(text: str) -> tuple[str, int] | None:
    """The label after the last 'Preferred' or the like, or that is the whole text, and its position; None if both do."""
    text = bare(text)
    *_, marked = [None, *_MARKED.finditer(text)]
    found = marked or _ALONE.fullmatch(text)
    return (found[1], found.start(1)) if found else None
