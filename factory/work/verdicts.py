"""What several judgements of a response come to. Pure; `stores/sql/views/verdicts.sql` says the same over rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from schemas.tables import Judgement


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judgements of one judge on one response come to."""

    passed: bool | None
    """None: a tie, nothing that can be read, or points that decide nothing"""
    value: float | None
    """0..1, the mean over what can be read"""
    points: float | None = None
    """the mean of the points as given, not of rounded shares"""


def verdict_of(judgements: Sequence[Judgement]) -> Verdict:
    """The verdict of one judge's judgements of one response.

    Yes and no are decided by their majority (SPaR, arXiv:2412.11605, 3.2); a tie is no verdict. Points pass from
    `pass_points` on, by their mean.
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
