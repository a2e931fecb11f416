"""95% intervals of figures: Wilson's for shares of independent examples, the percentile bootstrap for everything else.

Sources: Wilson 1927 (score interval); Efron 1979 (bootstrap). The bootstrap's generator is seeded, so that the same
examples always give the same interval.
"""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)

Z = 1.959963984540054
"""The normal distribution's 97.5th percentile."""
RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value with the ends of its 95% interval; None: there was nothing to measure."""

    value: float | None
    low: float | None
    high: float | None
    examples: int
    """how many examples it was computed from"""


def share(successes: int, examples: int) -> Figure:
    """The share of examples for which something holds, with Wilson's interval."""
    if not examples:
        return Figure(None, None, None, 0)
    p, n, z2 = successes / examples, examples, Z * Z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    # Rounding must not leave the value outside.
    return Figure(p, min(p, max(0.0, middle - half)), max(p, min(1.0, middle + half)), n)


def bootstrapped(
    items: Sequence[Item], statistic: Callable[[Mapping[Item, int]], float | None], seed: int = 0
) -> Figure:
    """A statistic of examples, with the interval between the 2.5th and 97.5th percentile of RESAMPLES resamples.

    Args:
        items: one for each independent example; equal ones are counted together.
        statistic: of how often each item is there; None where it is undefined. Such resamples are left out.
    """
    counts = Counter(items)
    value = statistic(counts) if items else None
    if value is None:
        return Figure(None, None, None, 0)
    import numpy

    kinds, drawn = list(counts), numpy.random.default_rng(seed)
    shares = [counts[kind] / len(items) for kind in kinds]
    resamples = drawn.multinomial(len(items), shares, RESAMPLES).tolist()
    found = [one for times in resamples if (one := statistic(dict(zip(kinds, times, strict=True)))) is not None]
    low, high = numpy.percentile(found, [2.5, 97.5]) if found else (value, value)
    return Figure(value, min(value, float(low)), max(value, float(high)), len(items))


def mean(values: Mapping[float, int]) -> float | None:
    """The mean of values, each as often as it is there: a statistic for `bootstrapped`."""
    total = sum(values.values())
    return sum(value * times for value, times in values.items()) / total if total else None
