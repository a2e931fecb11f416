"""Guards: whether a training has gone wrong, by the figures that it logs anyway. Imports no torch.

Each returns what is wrong, or None. The thresholds are settings, with our own defaults: a sound training stays far
from them, so they end what is broken and no more.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Entry = Mapping[str, Any]
"""What TRL logs of one step: loss, grad_norm, for DPO rewards/chosen and rewards/rejected, for online reward (None: not known)."""

SIDES = ("chosen", "rejected")


def no_number(entry: Entry) -> str | None:
    """Whether the step's loss, or the gradient that its weights were changed by, is NaN or infinite."""
    for name, words in (("loss", "the loss"), ("grad_norm", "the gradient's norm")):
        value = entry.get(name, 0.0)
        if not math.isfinite(value):
            return f"{words} is {value}"
    return None


def climbing(entries: Sequence[Entry], steps: int, most: float, unit: tuple[float, str] = (1.0, "nats")) -> str | None:
    """Whether the mean loss of the last `steps` steps is more than `most` units above that of the first ones.

    Args:
        unit: in which losses are counted, and its name.
    """
    if len(entries) < 2 * steps:
        return None
    first, last = (_mean([entry["loss"] for entry in part]) for part in (entries[:steps], entries[-steps:]))
    if last - first <= most * unit[0]:
        return None
    return f"the loss climbs: {last:.3f} in the last {steps} steps, {first:.3f} in the first (max_loss_rise {most:g} {unit[1]})"


def falling(entries: Sequence[Entry], steps: int, most: float, beta: float, tokens: Sequence[float]) -> str | None:
    """Whether chosen and rejected answers alike have lost more than `most` nats a token since the first step.

    A DPO reward is beta * log(p / p_reference), so the reference cancels out of its change: what is left is the change
    of log p. That both fall is usual (likelihood displacement, arXiv:2410.08847); that every token of both loses as
    much is a model that has forgotten how to write.

    Args:
        tokens: the mean length of the chosen and of the rejected answers.
    """
    if len(entries) < steps:
        return None
    falls = []
    for side, length in zip(SIDES, tokens, strict=True):
        rewards = [entry[f"rewards/{side}"] for entry in entries[-steps:]]
        falls.append((entries[0][f"rewards/{side}"] - _mean(rewards)) / beta / length)
    if min(falls) <= most:
        return None
    return (
        f"both log-probabilities fall: a token of the chosen answers has lost {falls[0]:.2f} nats and one of the "
        f"rejected {falls[1]:.2f}, in the last {steps} steps (max_fall {most:g})"
    )


def sinking(entries: Sequence[Entry], steps: int, most: float) -> str | None:
    """Whether the mean reward of the last `steps` steps is more than `most` deviations below that of the first ones.

    Args:
        most: in standard deviations of the answers' rewards in the first steps, as rewards have no unit of their own.
    """
    entries = [entry for entry in entries if entry["reward"] is not None]  # None: no answer could be paid
    if len(entries) < 2 * steps:
        return None
    first, last = (_mean([entry["reward"] for entry in part]) for part in (entries[:steps], entries[-steps:]))
    deviation = _mean([entry["reward_std"] for entry in entries[:steps]])
    if first - last <= most * deviation:
        return None
    return (
        f"the rewards fall: {last:.3f} in the last {steps} steps, {first:.3f} in the first, whose deviation is "
        f"{deviation:.3f} (max_reward_fall {most:g} deviations)"
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
