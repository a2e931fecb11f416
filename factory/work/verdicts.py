"""Combines a response's judgements into a verdict. Pure; `stores/sql/views/verdicts.sql` does the same over rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.tables import Judgement


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judge's verdict on one response."""

    passed: bool | None
    """None: a tie, nothing readable, or points without `pass_points`"""
    value: float | None
    """0..1, the mean of the readable judgements, by weight"""
    points: float | None = None
    """the mean of the points as given, by weight"""


def verdict_of(judgements: Sequence[Judgement]) -> Verdict:
    """Combines one judge's judgements of one response.

    The majority of yes and no decides (SPaR, arXiv:2412.11605, 3.2); a tie is no verdict. Points pass if their mean
    reaches `pass_points`.
    """
    value = _mean([(j.value, j.weight) for j in judgements])
    if value is None:
        return Verdict(None, None)
    points = _mean([(j.points, j.weight) for j in judgements])
    pass_points = judgements[0].pass_points
    if pass_points is not None:
        return Verdict(None if points is None else points >= pass_points, value, points)
    yes, no = (sum(j.verdict == word for j in judgements) for word in ("yes", "no"))
    return Verdict(None if yes == no else yes > no, value, points)


def _mean(given: Sequence[tuple[float | None, float | None]]) -> float | None:
    """The mean of numbers by weight (None: 1), without those that are unknown; None: all are."""
    known = [(number, 1.0 if weight is None else weight) for number, weight in given if number is not None]
    total = sum(weight for _, weight in known)
    return sum(number * weight for number, weight in known) / total if total else None
