"""Figures of answers that a program checked: IFEval's four, each with a bootstrap interval over prompts.

Prompt level: the share of prompts of which every constraint is followed. Instruction level: the share of all constraints
that are followed. Strict: as the answer stands. Loose: as one of IFEval's eight variants (arXiv:2311.07911, 3).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from factory.audit.figures import wilson
from stores.lake import Lake
from stores.sql import sql

METRICS = ("prompt_strict", "prompt_loose", "instruction_strict", "instruction_loose")
RESAMPLES = 10_000
LEVEL = 0.95
SEED = 0
_AT_ONCE = 10_000_000  # resampled prompts in memory
HOW = f"percentile bootstrap over prompts, {RESAMPLES} resamples, seed {SEED}"

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95% interval."""

    value: float | None
    """None: there was nothing to measure"""
    low: float | None
    high: float | None
    examples: int
    """prompts"""


def answers_of(lake: Lake, run_id: str, kinds: Sequence[str] | None = None, among: bool = True) -> pa.Table:
    """What a run's answers follow, one row per prompt (`stores/sql/evaluation/by_prompt.sql`).

    Args:
        kinds: only constraints of these kinds count, or with `among` false only the others; None: all.
    """
    given = {"run_id": run_id, "kinds": None if kinds is None else list(kinds), "among": among}
    return lake.query(sql("evaluation/by_prompt"), given)


def by_kind(lake: Lake, run_id: str) -> pa.Table:
    """How often a run's answers follow each kind of constraint: kind, constraints, and the shares strict and loose."""
    return lake.query(sql("evaluation/by_kind"), {"run_id": run_id})


def parts(metric: str, answers: pa.Table) -> tuple[Array, Array]:
    """Numerator and denominator of a metric, one of each per prompt: the metric is the ratio of their sums."""
    level, _, manner = metric.partition("_")
    if level == "prompt":
        return _column(answers, metric), np.ones(answers.num_rows)
    return _column(answers, f"followed_{manner}"), _column(answers, "constraints")


def figure(metric: str, answers: pa.Table) -> Figure:
    """A metric of METRICS with its interval.

    The percentile bootstrap (Efron, 1979): prompts are drawn with replacement, as many as there are, 10,000 times; the
    interval holds the middle 95% of the ratios. Prompts are drawn, not constraints, as those of one answer depend on each
    other. The seed is fixed, so that the same rows give the same interval. If all prompts score alike, resamples do too:
    the interval is then Wilson's (1927) for as many prompts, which says how little so few of them tell.
    """
    numerator, denominator = parts(metric, answers)
    if not denominator.sum():
        return Figure(None, None, None, 0)
    value = float(numerator.sum() / denominator.sum())
    if np.ptp(numerator / denominator) == 0:
        return Figure(value, *wilson(value * answers.num_rows, answers.num_rows), answers.num_rows)
    low, high = interval(lambda counts: (counts @ numerator) / (counts @ denominator), answers.num_rows)
    return Figure(value, low, high, answers.num_rows)


def interval(statistic: Callable[[Array], Array], examples: int) -> tuple[float, float]:
    """The bootstrap's 95% interval of a statistic.

    Args:
        statistic: of how often each example was drawn (resamples, examples), the value for each resample; NaN where it is
            undefined, and left out.
    """
    draw = np.random.default_rng(SEED)
    rows = max(1, _AT_ONCE // examples)
    share = np.full(examples, 1 / examples)
    values = [
        statistic(draw.multinomial(examples, share, size=min(rows, RESAMPLES - first)).astype(float))
        for first in range(0, RESAMPLES, rows)
    ]
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.nanpercentile(np.concatenate(values), [tail, 100 - tail])
    return float(low), float(high)


def _column(answers: pa.Table, name: str) -> Array:
    return np.asarray(answers.column(name).to_pylist(), dtype=float)
