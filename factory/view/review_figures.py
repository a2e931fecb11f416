"""Who has reviewed what, how far two reviewers agree, and how far they agree with the judges."""

from collections import defaultdict
from dataclasses import dataclass

import pyarrow as pa

from factory.evaluation.agreement import kappa
from factory.evaluation.figures import Figure
from factory.evaluation.intervals import bootstrapped, share
from factory.view.asking import query
from stores.lake import Lake


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two who said something of the same pairs."""

    one: str
    other: str
    pairs: int
    agreement: Figure
    """share of the pairs on which both say the same, with Wilson's 95% interval"""
    kappa: Figure
    """Cohen's kappa with a 95% bootstrap interval over pairs; None: both always say the same one thing"""


def reviewers(lake: Lake) -> pa.Table:
    """Each reviewer's counts (`review_counts.sql`)."""
    return query(lake, "review_counts")


def between_reviewers(lake: Lake) -> list[Agreement]:
    """Each two reviewers, on the pairs that both have reviewed: did they accept it as it is, or not?"""
    said: dict[tuple[str, str], list[tuple[bool, bool]]] = defaultdict(list)
    for row in query(lake, "review_both").to_pylist():
        said[row["reviewer"], row["other_reviewer"]].append((row["accepted"], row["other_accepted"]))
    return [_agreement(one, other, verdicts) for (one, other), verdicts in said.items()]


def with_judges(lake: Lake) -> list[Agreement]:
    """Each reviewer and each judge that named the better side of the same pairs.

    A judge that made the pairs always prefers the chosen side, so chance is taken over the sides in a fixed order that knows
    nothing of which was chosen: kappa is then 2 * agreement - 1 on average.
    """
    said: dict[tuple[str, str], list[tuple[bool, bool]]] = defaultdict(list)
    for row in query(lake, "review_judges").to_pylist():
        judge = row["judge"] if row["judge"] == row["kind"] else f"{row['judge']} ({row['kind']})"
        said[row["reviewer"], judge].append((row["reviewer_first"], row["judge_first"]))
    return [_agreement(one, other, verdicts) for (one, other), verdicts in said.items()]


def _agreement(one: str, other: str, verdicts: list[tuple[bool, bool]]) -> Agreement:
    same = sum(a == b for a, b in verdicts)
    return Agreement(one, other, len(verdicts), share(same, len(verdicts)), bootstrapped(verdicts, kappa))
