"""Figures, intervals and tests of differences against known values."""

from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.evaluation.comparing import difference, mcnemar, shuffled
from factory.evaluation.figures import METRICS, figure, wilson
from schemas.errors import FactoryError


def answers(strict: list[int], constraints: list[int] | None = None) -> pa.Table:
    """Prompts with so many constraints followed, of one each if not said."""
    of = constraints or [1] * len(strict)
    whole = [float(s == n) for s, n in zip(strict, of, strict=True)]
    return pa.table(
        {
            "prompt_id": [f"p{at}" for at in range(len(strict))],
            "constraints": of,
            "prompt_strict": whole,
            "prompt_loose": whole,
            "followed_strict": [float(s) for s in strict],
            "followed_loose": [float(s) for s in strict],
            "binary": [True] * len(strict),
        }
    )


def test_the_interval_is_that_of_the_binomial() -> None:
    found = figure("prompt_strict", answers([1] * 120 + [0] * 280))
    half = 1.96 * (0.3 * 0.7 / 400) ** 0.5
    assert found.value == 0.3 and found.examples == 400
    assert found.low == pytest.approx(0.3 - half, abs=0.004)
    assert found.high == pytest.approx(0.3 + half, abs=0.004)


def test_constraints_of_one_prompt_are_drawn_together() -> None:
    """Ten times as many constraints that all agree within their prompt tell no more."""
    one = figure("instruction_strict", answers([1] * 30 + [0] * 70))
    ten = figure("instruction_strict", answers([10] * 30 + [0] * 70, [10] * 100))
    assert (one.value, one.low, one.high) == (ten.value, ten.low, ten.high)


def test_the_same_rows_give_the_same_interval() -> None:
    rows = answers([0, 1, 2, 1, 0, 2, 2], [1, 1, 2, 3, 1, 2, 3])
    assert [figure(metric, rows) for metric in METRICS] == [figure(metric, rows) for metric in METRICS]


def test_prompts_that_all_fail_do_not_prove_that_none_would_pass() -> None:
    found = figure("prompt_loose", answers([0] * 20))
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(0.1611, abs=1e-4)  # Wilson's for 0 of 20
    assert wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)


def test_nothing_to_measure_is_no_zero() -> None:
    assert figure("prompt_strict", answers([])).value is None


@given(st.integers(0, 12), st.integers(0, 12))
def test_mcnemar_is_the_binomial_test(won: int, lost: int) -> None:
    sides = [sum(signs) for signs in product((1, -1), repeat=won + lost)] if won + lost <= 10 else None
    if sides is not None:
        assert mcnemar(won, lost) == pytest.approx(np.mean([abs(side) >= abs(won - lost) for side in sides]))
    assert 0 < mcnemar(won, lost) == mcnemar(lost, won) <= 1


def test_the_randomization_test_agrees_with_all_changes_of_signs() -> None:
    gain = np.array([1.0, 2.0, 1.0, -1.0, 3.0, 0.0, 1.0, 1.0, 2.0])
    differing = gain[gain != 0]
    sums = [abs(np.dot(signs, differing)) for signs in product((1, -1), repeat=len(differing))]
    assert shuffled(gain) == pytest.approx(np.mean(np.array(sums) >= gain.sum()), abs=0.01)
    assert shuffled(np.zeros(5)) == 1.0


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    one, other = [1] * 60 + [0] * 40, [1] * 50 + [0] * 50
    found, p_value = difference("prompt_strict", answers(one), answers(other))
    assert found.value == pytest.approx(0.1)
    assert found.low is not None and found.low > 0.03
    assert p_value == pytest.approx(2 / 2**10)


def test_other_prompts_are_refused() -> None:
    with pytest.raises(FactoryError, match="the same prompts"):
        difference("prompt_strict", answers([1, 0]), answers([1]))
