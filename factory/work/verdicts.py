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
    """0..1, the mean of the readable judgements; of a checklist, of its items' means by weight"""
    points: float | None = None
    """the same of the points as given"""


def verdict_of(judgements: Sequence[Judgement]) -> Verdict:
    """Combines one judge's judgements of one response; those of a checklist item by item (RLCF, arXiv:2507.18624).

    The majority of yes and no decides (SPaR, arXiv:2412.11605, 3.2); a tie is no verdict. Points pass if their mean
    reaches `pass_points`.
    """
    value = _mean(judgements, [j.value for j in judgements])
    if value is None:
        return Verdict(None, None)
    points = _mean(judgements, [j.points for j in judgements])
    pass_points = judgements[0].pass_points
    if pass_points is not None:
        return Verdict(None if points is None else points >= pass_points, value, points)
    yes, no = (sum(j.verdict == word for j in judgements) for word in ("yes", "no"))
    return Verdict(None if yes == no else yes > no, value, points)


def _mean(judgements: Sequence[Judgement], numbers: Sequence[float | None]) -> float | None:
    """The mean of the known numbers, or of the items' means by weight; None: none is known, or none of an item's."""
    if all(judgement.item_id is None for judgement in judgements):
        known = [number for number in numbers if number is not None]
        return sum(known) / len(known) if known else None
    of_items: dict[str | None, list[float]] = {}
    weights: dict[str | None, float] = {}
    for judgement, number in zip(judgements, numbers, strict=True):
        of_items.setdefault(judgement.item_id, []).extend([] if number is None else [number])
        weights[judgement.item_id] = 1.0 if judgement.weight is None else judgement.weight
    if not all(of_items.values()):
        return None
    total = sum(weights[item] * sum(known) / len(known) for item, known in of_items.items())
    whole = sum(weights.values())
    return total / whole if whole else None
