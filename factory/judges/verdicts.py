"""Votes and what they come to. Pure; `stores/sql/views/verdicts.sql` says the same over rows."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_JUDGEMENT = re.compile(r"final\s+judge?ment", re.IGNORECASE)
_WORD = re.compile(r"\b(yes|no)\b", re.IGNORECASE)


VERDICT_FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "strict": True,
        "schema": {
            "type": "object",
            # In this order: a verdict that is written before its reasons is none of them.
            "properties": {"critique": {"type": "string"}, "verdict": {"type": "string", "enum": ["yes", "no"]}},
            "required": ["critique", "verdict"],
            "additionalProperties": False,
        },
    },
}
"""OpenAI's `response_format` for a vote."""


@dataclass(frozen=True, slots=True)
class Vote:
    """One reading of a response by a judge."""

    verdict: str  # yes, no or unparsed
    critique: str
    score: float | None = None  # 0..1, share of constraints followed; a verifier's only


@dataclass(frozen=True, slots=True)
class Verdict:
    """What several votes come to."""

    passed: bool | None  # None: a tie, or no readable vote
    value: float | None  # 0..1, share of yes among readable votes
    critique: Vote | None  # the first vote that agrees with the majority
    index: int | None  # of that vote


def read_verdict(critique: str) -> str:
    """`yes` or `no`: the first of the two words after the last 'Final Judgement' (SPaR's code); else `unparsed`."""
    *_, last = _JUDGEMENT.split(critique)
    if last is critique or not _JUDGEMENT.search(critique):
        return "unparsed"
    word = _WORD.search(last)
    return word[1].lower() if word else "unparsed"


def read_json_vote(text: str) -> Vote:
    """The vote in a reply to VERDICT_FORMAT; anything else is `unparsed`, with the text as it came for a critique."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # the latter for thousands of open brackets
        return Vote("unparsed", text)
    match found:
        case {"critique": str(critique), "verdict": "yes" | "no" as verdict}:
            # Half an emoji, which JSON can spell, has no UTF-8 and could not be written down.
            return Vote(verdict, critique.encode("utf-8", "replace").decode())
    return Vote("unparsed", text)


def majority(votes: Sequence[Vote]) -> Verdict:
    """The majority over readable votes; a tie and no readable vote are no verdict.

    A vote of no by a verifier counts half the share of constraints that are followed towards the value, so that
    of two failing texts the nearer one is kept; it never reaches acceptance at 0.5.
    """
    readable = [vote for vote in votes if vote.verdict != "unparsed"]
    if not readable:
        return Verdict(None, None, None, None)
    value = sum(1.0 if v.verdict == "yes" else (v.score or 0.0) / 2 for v in readable) / len(readable)
    yes = sum(vote.verdict == "yes" for vote in readable)
    if 2 * yes == len(readable):
        return Verdict(None, value, None, None)
    word = "yes" if 2 * yes > len(readable) else "no"
    index = next(i for i, vote in enumerate(votes) if vote.verdict == word)
    return Verdict(word == "yes", value, votes[index], index)


def is_settled(votes: Sequence[Vote], left: int) -> bool:
    """Whether `left` further votes cannot change what the votes come to: no tie can come of them, nor the other side."""
    yes, no = (sum(vote.verdict == word for vote in votes) for word in ("yes", "no"))
    return abs(yes - no) > left
