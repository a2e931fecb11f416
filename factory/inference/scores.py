"""Scores of a reward model: the reply of vLLM's `/classify`, which our own server of reward models speaks too."""

import math
from typing import Any

from factory.inference.failures import Failure
from factory.inference.journal import Choice
from factory.inference.replies import Completion
from factory.inference.values import shape_of, tokens_or_none

PATH = "/classify"
"""beside /v1, not under it"""
BESIDE = {"use_activation": False}
"""the logit itself; vLLM's default is its sigmoid"""
DECIMALS = 6


def read_score(document: Any) -> Completion:
    """The raw score of the one conversation that was sent, as the text of a choice.

    Raises:
        Failure: the document holds no finite number, or several: the model's head then has several outputs.
    """
    try:
        [item] = document["data"]
        scores = item["probs"]
        count = len(scores)
    except (KeyError, TypeError, ValueError):
        raise Failure("answered in JSON, but with no score") from None
    if count != 1:
        raise Failure(f"answered with {count} scores, and a reward model has one output")
    [score] = scores
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise Failure(f"answered with a score that is {shape_of(score)}")
    notes: list[str] = []
    usage = document.get("usage")
    tokens = tokens_or_none(usage.get("prompt_tokens"), "prompt_tokens", notes) if isinstance(usage, dict) else None
    text = str(round(float(score), DECIMALS))
    return [Choice(text, "stop", 0, note="; ".join(notes) or None)], tokens, 0
