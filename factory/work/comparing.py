"""Which of two texts is better, answers or judgements: how a model is asked, and how its labels '1' and '2' are read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from factory.inference.endpoints import SetAside
from factory.inference.journal import Choice
from factory.inference.logprobs import label_probabilities, opening_probabilities
from factory.work.context import Context
from factory.work.insisting import insist
from factory.work.request import Answered
from factory.work.stage import sampling_of
from factory.work.verdict_text import bare
from schemas.tables import Message, Prompt

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
LEAST_TOKENS = 16
"""of a few words of reasons and the label's line"""


@dataclass(frozen=True, slots=True)
class Compared:
    """A model's answer to the question which of two texts is better."""

    answered: Answered
    probability: float | None
    """that the one shown first is better; None: unreadable"""
    votes: list[str]
    """one per choice: first, second or unparsed"""
    rationales: list[str]


def check_room(reasons: bool, max_tokens: int) -> None:
    """
    Raises:
        ValueError: the label, which comes after the reasons, would always be cut off.
    """
    if reasons and max_tokens < LEAST_TOKENS:
        raise ValueError(
            f"max_tokens is {max_tokens}, which ends the answer before the label that follows the reasons: set max_tokens to "
            "512, or reasons to false"
        )


async def which_is_better(
    context: Context, prompt: Prompt, settings: Any, template: str, question: str, response_ids: tuple[str, ...]
) -> Compared | None:
    """Asks a stage's model; None if it cannot be asked (its call records why).

    Args:
        settings: the stage's: model, reasons, votes, logprobs and sampling.
    Raises:
        FactoryError: log-probabilities are required, and the endpoint returns none.
    """
    # Without reasons the label may not be among the likeliest words; 20 is the most that OpenAI's endpoint returns.
    top = 5 if settings.reasons else 20
    logprobs = {"logprobs": True, "top_logprobs": top} if settings.logprobs else {}
    try:
        answered = await context.ask(
            prompt,
            settings.model,
            [Message("user", question)],
            sampling_of(settings, settings.votes, **logprobs),
            template=template,
            response_ids=response_ids,
        )
    except SetAside:
        return None
    choices, required = answered.reply.choices, settings.logprobs == "required"
    insist(choices, settings.logprobs, f"stage {context.stage}")
    return Compared(
        answered,
        first_is_better(choices, settings.reasons, required),
        [_vote(choice, settings.reasons, required) for choice in choices],
        [choice.text for choice in choices],
    )


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


def _vote(choice: Choice, reasons: bool, required: bool) -> str:
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
