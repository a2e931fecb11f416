"""Shares, AUCs and their intervals."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Z = 1.959963984540054
"""of a normal distribution, 95% lies within so many standard deviations"""


def wilson(successes: float, trials: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share (E. B. Wilson, JASA 22, 1927). Half successes, such as ties, may be counted."""
    if not trials:
        return 0.0, 1.0
    share, z2 = successes / trials, Z * Z
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials)) / (1 + z2 / trials)
    return max(0.0, round(middle - half, 12)), min(1.0, round(middle + half, 12))


def paired_auc(differences: Any) -> tuple[float, float, float]:
    """The share of pairs in which the chosen side has more, ties counted half, with Wilson's interval.

    It is the AUC of a feature that is only compared within a pair: 0.5 says nothing, 0 and 1 tell the label.
    """
    values = np.asarray(differences, dtype=float)
    wins = float((values > 0).sum() + (values == 0).sum() / 2)
    return (wins / len(values), *wilson(wins, len(values)))


def auc(positive: Any, negative: Any) -> tuple[float, float, float]:
    """The probability that a positive exceeds a negative, ties counted half, with its 95% interval.

    The interval is Hanley's and McNeil's (Radiology 143, 1982).
    """
    positive, negative = np.asarray(positive, dtype=float), np.asarray(negative, dtype=float)
    m, n = len(positive), len(negative)
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left")
    not_above = np.searchsorted(ordered, positive, "right")
    area = float((below + not_above).sum() / 2 / (m * n))
    q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
    variance = (area * (1 - area) + (m - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)) / (m * n)
    half = Z * math.sqrt(max(variance, 0.0))
    return area, max(0.0, area - half), min(1.0, area + half)


def entropy(counts: Sequence[float]) -> float:
    """In bits."""
    total = sum(counts)
    return -sum(c / total * math.log2(c / total) for c in counts if c) if total else 0.0


def logistic_votes(features: Any, folds: Any) -> Any:
    """For each pair, whether a logistic regression on the other folds' pairs tells the chosen side: 1, 0, or 0.5.

    Args:
        features: differences chosen - rejected, one row a pair; scaled here, without an intercept, for a pair turned
            round must give the opposite.
        folds: each pair's fold.
    """
    scale = np.abs(features).mean(axis=0)
    known = np.sign(features) * np.log1p(np.abs(features) / np.where(scale > 0, scale, 1.0))
    votes = np.full(len(known), 0.5)
    for fold in np.unique(folds):
        inside = folds == fold
        scores = known[inside] @ _fitted(known[~inside])
        votes[inside] = np.where(np.abs(scores) < 1e-9, 0.5, scores > 0)
    return votes


def _fitted(known: Any, ridge: float = 1.0, steps: int = 25) -> Any:
    """Weights by Newton's method; every row is a success, and the ridge keeps separable rows finite."""
    weights = np.zeros(known.shape[1])
    for _ in range(steps):
        chance = 1 / (1 + np.exp(-np.clip(known @ weights, -30, 30)))
        gradient = known.T @ (1 - chance) - ridge * weights
        curvature = (known * (chance * (1 - chance))[:, None]).T @ known + ridge * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        weights = weights + step
        if np.abs(step).max() < 1e-6:
            break
    return weights
