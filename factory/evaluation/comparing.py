"""Two models on the same prompts: paired differences, each with an interval and a test."""

from math import comb

import numpy as np
import pyarrow as pa

from factory.evaluation.figures import Array, Figure, interval, parts
from schemas.errors import FactoryError

SHUFFLES = 10_000
SEED = 0
TESTS = f"exact McNemar (prompt level), sign-flip permutation over prompts ({SHUFFLES}, seed {SEED}; instruction level)"


def difference(metric: str, answers: pa.Table, others: pa.Table) -> tuple[Figure, float]:
    """How much more of a metric the first model has than the other, with a 95% interval, and the p-value of no difference.

    The interval is the bootstrap's of `figure`, with both models' answers to a prompt drawn together. The test at prompt
    level is McNemar's, exact and two-sided, over the prompts on which exactly one model follows everything; elsewhere each
    prompt's difference changes its sign at random (Fisher's randomization test), as it may if the models are alike.

    Raises:
        FactoryError: the two have not answered the same prompts.
    """
    if answers.column("prompt_id").to_pylist() != others.column("prompt_id").to_pylist():
        raise FactoryError("the two models have not answered the same prompts: evaluate both on the same benchmark")
    mine, weights = parts(metric, answers)
    theirs, _ = parts(metric, others)
    gain = mine - theirs
    low, high = interval(lambda counts: (counts @ gain) / (counts @ weights), len(gain))
    binary = all(one for table in (answers, others) for one in table.column("binary").to_pylist())
    exact = metric.startswith("prompt") and binary
    p_value = mcnemar(int((gain > 0).sum()), int((gain < 0).sum())) if exact else shuffled(gain)
    return Figure(float(gain.sum() / weights.sum()), low, high, len(gain)), p_value


def mcnemar(won: int, lost: int) -> float:
    """The exact two-sided p-value of as many discordant pairs, if either side is as likely (McNemar, 1947)."""
    pairs = won + lost
    tail = sum(comb(pairs, k) for k in range(min(won, lost) + 1))
    return float(min(1.0, 2 * tail / 2**pairs))


def shuffled(gain: Array) -> float:
    """The two-sided p-value of the sum of differences, by 10,000 random changes of their signs; never 0."""
    differing = gain[gain != 0]
    if not len(differing):
        return 1.0
    draw = np.random.default_rng(SEED)
    observed = abs(differing.sum()) - 1e-9
    as_large = 0
    rows = max(1, 10_000_000 // len(differing))
    for first in range(0, SHUFFLES, rows):
        signs = draw.integers(0, 2, size=(min(rows, SHUFFLES - first), len(differing))) * 2 - 1
        as_large += int((np.abs(signs @ differing) >= observed).sum())
    return (1 + as_large) / (1 + SHUFFLES)
