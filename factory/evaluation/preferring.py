"""How well preferences between two outputs, asked in both orders, agree with labels, and how they are biased. Pure.

The probabilities of both orders are averaged before a side is chosen (RLAIF, arXiv:2309.00267).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from factory.evaluation.agreement import macro_f1
from factory.evaluation.figures import Figure
from factory.evaluation.intervals import bootstrapped, share


@dataclass(frozen=True, slots=True)
class Asked:
    """A labelled pair and what a judge said of it."""

    label: int
    """the better output: 1 or 2"""
    first_in_order: float | None
    """probability that the output shown first is better, with output 1 first; None: unreadable"""
    first_reversed: float | None
    """the same, with output 2 first"""
    words: int
    """of output 1"""
    other_words: int
    """of output 2"""

    @property
    def chosen(self) -> int | None:
        """1 or 2 by the mean over both orders; None: one is unreadable, or a tie."""
        if self.first_in_order is None or self.first_reversed is None:
            return None
        return _side((self.first_in_order + 1 - self.first_reversed) / 2)

    @property
    def votes(self) -> tuple[int | None, int | None]:
        """What each order says by itself."""
        return _side(self.first_in_order), _other(_side(self.first_reversed))

    @property
    def positions(self) -> tuple[int | None, int | None]:
        """Which position wins in each order."""
        return _side(self.first_in_order), _side(self.first_reversed)


def preference_figures(asked: Sequence[Asked]) -> dict[str, Figure]:
    """Figures of a judge's preferences.

    Returns:
        accuracy: share of decided pairs in which the labelled output is preferred.
        f1: the mean of both sides' F1, as neither is the positive one.
        single_order_accuracy: the same share over single orders, before they are averaged.
        position_bias: share of pairs in which the same position wins in both orders.
        first_position_wins: share of single orders in which the output shown first wins.
        length_bias: share of decided pairs of different length in which the longer output wins.
        longer_is_better: the same share among the labels: what an unbiased length bias would be.
        undecided: share of pairs without a preference: an order could not be read, or both sides are equal.
    """
    decided = [(one, one.chosen) for one in asked if one.chosen is not None]
    in_both = [one.positions for one in asked if None not in one.positions]
    unequal = [(one, chosen) for one, chosen in decided if one.words != one.other_words]
    labelled = [one for one in asked if one.words != one.other_words]
    return {
        "accuracy": share(sum(one.label == chosen for one, chosen in decided), len(decided)),
        "f1": bootstrapped([(one.label == 1, chosen == 1) for one, chosen in decided], macro_f1),
        "single_order_accuracy": _over_votes([tuple(v == one.label for v in _there(one.votes)) for one in asked]),
        "position_bias": share(sum(one == other for one, other in in_both), len(in_both)),
        "first_position_wins": _over_votes([tuple(p == 1 for p in _there(one.positions)) for one in asked]),
        "length_bias": share(sum(chosen == _longer(one) for one, chosen in unequal), len(unequal)),
        "longer_is_better": share(sum(one.label == _longer(one) for one in labelled), len(labelled)),
        "undecided": share(len(asked) - len(decided), len(asked)),
    }


def _over_votes(votes: Sequence[tuple[bool, ...]]) -> Figure:
    """The share of votes that hold; a pair's two votes are resampled together."""

    def statistic(counts: Mapping[tuple[bool, ...], int]) -> float | None:
        total = sum(len(pair) * times for pair, times in counts.items())
        return sum(sum(pair) * times for pair, times in counts.items()) / total if total else None

    return bootstrapped([pair for pair in votes if pair], statistic)


def _there(sides: Iterable[int | None]) -> list[int]:
    return [side for side in sides if side is not None]


def _side(probability: float | None) -> int | None:
    if probability is None or abs(probability - 0.5) < 1e-9:  # the mean of two orders is rounded
        return None
    return 1 if probability > 0.5 else 2


def _other(side: int | None) -> int | None:
    return None if side is None else 3 - side


def _longer(one: Asked) -> int:
    return 1 if one.words > one.other_words else 2
