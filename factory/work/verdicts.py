"""Combines a response's judgements into a verdict. Pure; `stores/sql/views/verdicts.sql` does the same over rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from schemas.tables import Judgement


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judge's verdict on one response."""

    passed: bool | None
    """None: a tie, nothing readable, or points without `pass_points`"""
    value: float | None
    """0..1, the mean of the readable judgements"""
    points: float | None = None
    """the mean of the points as given"""


def verdict_of(judgements: Sequence[Judgement]) -> Verdict:
    """Combines one judge's judgements of one response.

    The majority of yes and no decides (SPaR, arXiv:2412.11605, 3.2); a tie is no verdict. Points pass if their mean
    reaches `pass_points`.
    """
    values = [j.value for j in judgements if j.value is not None]
    if not values:
        return Verdict(None, None)
    given = [j.points for j in judgements if j.points is not None]
    points = fmean(given) if given else None
    pass_points = judgements[0].pass_points
    value = sum(values) / len(values)
    if pass_points is not None:
        return Verdict(None if points is None else points >= pass_points, value, points)
    yes, no = (sum(j.verdict == word for j in judgements) for word in ("yes", "no"))
    return Verdict(None if yes == no else yes > no, value, points)
