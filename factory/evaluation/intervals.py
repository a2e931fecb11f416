"""Figures of judges and refiners with 95% intervals: Wilson's for shares of independent examples, else the bootstrap's."""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from factory.audit.figures import wilson
from factory.evaluation.figures import HOW, Array, Figure, interval

Item = TypeVar("Item", bound=Hashable)

INTERVALS = {"shares": "Wilson", "others": HOW}
"""How they are made, for the rows."""


def share(count: int, examples: int) -> Figure:
    """The share of independent examples for which something holds, with Wilson's interval."""
    if not examples:
        return Figure(None, None, None, 0)
    return _around(count / examples, *wilson(count, examples), examples)


def bootstrapped(items: Sequence[Item], statistic: Callable[[Mapping[Item, int]], float | None]) -> Figure:
    """A statistic of examples, with the interval of the bootstrap over them.

    Args:
        items: one for each independent example; few of them differ.
        statistic: of how often each item is there; None where it is undefined: such resamples are left out.
    """
    kinds = list(Counter(items))
    value = statistic(Counter(items)) if items else None
    if value is None:
        return Figure(None, None, None, 0)
    is_kind = np.array([[item == kind for kind in kinds] for item in items], dtype=float)

    def of_resamples(drawn: Array) -> Array:
        counts = (drawn @ is_kind).astype(int).tolist()
        return np.array([statistic(dict(zip(kinds, row, strict=True))) for row in counts], dtype=float)

    return _figure(value, of_resamples, len(items))


def mean(values: Sequence[float]) -> Figure:
    """The mean of values in [0, 1], with the interval of the bootstrap over them."""
    if not values:
        return Figure(None, None, None, 0)
    given = np.array(values)
    return _figure(float(given.mean()), lambda drawn: (drawn @ given) / len(given), len(given))


def _figure(value: float, of_resamples: Callable[[Array], Array], examples: int) -> Figure:
    low, high = interval(of_resamples, examples)
    if low == high and 0 <= value <= 1:  # all resamples are alike: Wilson's says how little few examples tell
        low, high = wilson(value * examples, examples)
    return _around(value, low, high, examples)


def _around(value: float, low: float, high: float, examples: int) -> Figure:
    """Rounding must not leave the value outside of its interval."""
    return Figure(value, min(value, low), max(value, high), examples)
