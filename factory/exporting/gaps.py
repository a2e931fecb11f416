"""What a trainer's format cannot hold: how a row with it is told, and whether it must be left out."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from factory.exporting.rows import Row, answers

VALUES = (("chosen_value", "rejected_value"), ("score_chosen", "score_rejected"))
"""columns that say how good each side of a pair is"""
_ALTERNATING = re.compile(r"(system )?user( assistant user)*")
_ROLES = {"system", "user", "assistant"}


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that a format cannot hold."""

    words: str
    """completes "3 rows …": with a system turn"""
    why: str
    """what the format does instead: it holds one user turn"""
    found: Callable[[Row], Any]
    left_out: bool = False
    """whether such a row is left out; otherwise only a part of it is lost"""


def _roles(row: Row) -> list[str]:
    return [turn["role"] for turn in row["prompt"]]


def _values(row: Row) -> list[tuple[float, float]]:
    return [(row[a], row[b]) for a, b in VALUES if row.get(a) is not None and row.get(b) is not None]


def _extra(row: Row) -> bool:
    conversations = [row["prompt"], *answers(row)]
    return any(
        turn[key] is not None for side in conversations for turn in side for key in turn.keys() - {"role", "content"}
    )


TIES = Gap(
    "with equal values of both sides, or equal sides (ties)",
    "it takes each chosen side as the better one",
    lambda row: any(a == b for a, b in _values(row)) or row["chosen"] == row["rejected"],
)
SOFT_LABELS = Gap(
    "with a value of each side (" + ", ".join(name for pair in VALUES for name in pair) + ")",
    "it holds only which side is better",
    lambda row: _values(row),
)
SCORES = Gap(
    "with a value or points",
    "it holds no score of a completion",
    lambda row: any(row.get(name) is not None for name in ("value", "points")),
)
EXTRA_FIELDS = Gap("with more in a turn than role and content", "it holds those two", _extra)


def no_system(why: str) -> Gap:
    return Gap("with a system turn", why, lambda row: "system" in _roles(row), left_out=True)


def no_several_turns(why: str) -> Gap:
    return Gap(
        "with a prompt of several turns",
        why,
        lambda row: len([r for r in _roles(row) if r != "system"]) > 1,
        left_out=True,
    )


def no_long_answers(why: str) -> Gap:
    return Gap("with an answer of several turns", why, lambda row: any(len(a) > 1 for a in answers(row)), left_out=True)


def only_roles(why: str) -> Gap:
    def found(row: Row) -> bool:
        said = {turn["role"] for side in (row["prompt"], *answers(row)) for turn in side}
        return not said <= _ROLES or any(a[-1]["role"] != "assistant" for a in answers(row))

    return Gap(
        "with another role than system, user and assistant, or another than the assistant at the end",
        why,
        found,
        left_out=True,
    )


def only_alternating(why: str) -> Gap:
    return Gap(
        "with a prompt in which user and assistant do not take turns",
        why,
        lambda row: _ALTERNATING.fullmatch(" ".join(_roles(row))) is None,
        left_out=True,
    )


def trains_on_history(why: str) -> Gap:
    return Gap("with earlier answers in the prompt", why, lambda row: "assistant" in _roles(row))


COMMON = {
    "preference": (TIES, SOFT_LABELS, EXTRA_FIELDS),
    "prompt_completion": (SCORES, EXTRA_FIELDS),
    "prompt": (EXTRA_FIELDS,),
}
"""format of a set -> what no trainer's format holds"""
