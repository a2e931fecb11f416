"""A scripted judge, refiner and author for every method: what it says of a text follows from the text alone, and can be worked
out by hand."""

import math
from collections.abc import Sequence
from typing import Any

from tests.completions import Tokens
from tests.judging import WORD, asked, outputs, part
from tests.scripted_endpoint import Request, draw_fraction

SUPPORTED, DENIED, UNKNOWN = "flows through Dresden", "flows through Paris", "rises in Bohemia"
"""what a claim says of the Elbe, and so how its checker judges it"""
ITEMS = {"Does it answer the question?": 80.0, "Is it short?": 20.0}


def quality(text: str, of: str = "") -> float:
    """How good a text is, from 0.1 to 0.9, by its hash."""
    return 0.1 + 0.8 * draw_fraction("quality", of, text)


def preference(first: str, second: str) -> float:
    """The probability that the first text is better, without what its position adds."""
    return 0.5 + 0.5 * (quality(first) - quality(second))


POSITION = 0.05
"""what the first position adds to the probability"""


def points(text: str, draw: int = 0) -> float:
    """A score from 1 to 10; the draws of one text are apart."""
    return 1 + 8 * quality(text, str(draw or ""))


def claims(response: str) -> list[str]:
    """Of three claims a text makes those that its hash says, and the supported one if none."""
    said = [what for what in (SUPPORTED, DENIED, UNKNOWN) if quality(response, what) > 0.5]
    return [f"The Elbe {what}." for what in said or [SUPPORTED]]


SHARES = {
    SUPPORTED: {"True": 0.8, "False": 0.1, "Unknown": 0.1},
    DENIED: {"True": 0.1, "False": 0.8, "Unknown": 0.1},
    UNKNOWN: {"True": 0.1, "False": 0.1, "Unknown": 0.8},
}
AGREEING = {SUPPORTED: 3, DENIED: 2, UNKNOWN: 1}
"""of three short answers to a claim's question those that are equal"""


def passes(text: str) -> bool:
    """Whether the judge of the search is content: with whatever the refiner wrote, and with the better answers."""
    return text.startswith("Refined: ") or quality(text) > 0.6


def judge(request: Request) -> Sequence[Any]:
    """What each template of a judge, refiner or author asks for."""
    text = asked(request)
    if "Which of two responses" in text:
        return [_word({"1": preference(*outputs(request)) + POSITION}, "2")]
    if "Which of their judgements" in text:
        first, second = (quality(part(text, f"Judgement {number}")) for number in (1, 2))
        return [_word({"1": 0.5 + 0.5 * (first - second) + POSITION}, "2")]
    if "from 1 (useless) to 10" in text:
        return [_score(points(part(text, "Response"), draw)) for draw in range(request.n)]
    if "List every factual claim" in text:
        return ["\n".join(f"- {claim}" for claim in claims(part(text, "Response")))]
    if "Passages from a reference corpus" in text:
        [shares] = [shares for what, shares in SHARES.items() if f"Claim: The Elbe {what}." in text]
        return [Tokens([(max(shares, key=lambda label: shares[label]), shares)])]
    if "Write one question" in text:
        [what] = [what for what in AGREEING if f"The Elbe {what}." in text]
        return [f"Which river {what}?"]
    if "Answer in a few words" in text:
        [agreeing] = [count for what, count in AGREEING.items() if what in text]
        return ["The Elbe", *["The Elbe"] * (agreeing - 1), "the Seine", "the Rhine"][: request.n]
    if "Write a checklist" in text:
        return ["\n".join(f"{i}. {item} (weight {weight:.0f})" for i, (item, weight) in enumerate(ITEMS.items(), 1))]
    if "[Requirement]" in text:
        return [_word({"Yes": quality(part(text, "Response"), part(text, "Requirement"))}, "No")]
    if text.endswith(WORD):
        return [Tokens([("Yes" if passes(part(text, "Response")) else "No", {})])] * request.n
    if "Rewrite the text above" in text:
        return [f"Refined: a text of {number} words." for number in range(request.n)]
    if "Write only the new instruction" in text:
        return [f"Write number {math.floor(10000 * quality(text))} in words, and nothing else at all."]
    raise AssertionError(f"nobody wrote what to say to this: {text[:300]}")


def _word(share: dict[str, float], other: str) -> Tokens:
    """One word with log-probabilities, the likelier of two."""
    [(word, probability)] = share.items()
    return Tokens([(word if probability > 0.5 else other, {word: probability, other: 1 - probability})])


def _score(score: float) -> Tokens:
    """A number of one digit, such that the expectation over the log-probabilities is the score."""
    below = min(8, math.floor(score))
    shares = {str(below): below + 1 - score, str(below + 1): score - below}
    return Tokens([(max(shares, key=lambda label: shares[label]), {k: v for k, v in shares.items() if v > 0})])
