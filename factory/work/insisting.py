"""Log-probabilities that a recipe insists on: an answer without them ends the run."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from factory.inference.journal import Choice
from factory.inference.logprobs import UNREADABLE
from schemas.errors import FactoryError
from schemas.settings import about

Logprobs = bool | Literal["required"]
"""A setting: whether to ask for them; required: without them no answer is taken."""
ALTERNATIVES: dict[str, Any] = {"logprobs": True, "top_logprobs": 20}
"""what a request asks for; 20 is the most that OpenAI's endpoint returns"""


def about_logprobs(whose: str, where: str = "") -> msgspec.Meta:
    """What the setting says of itself."""
    what = f"whether to ask for {whose} log-probabilities {where}".rstrip()
    return about(f"{what}; false if the endpoint refuses; required: the run ends if it returns none")


def insist(choices: Sequence[Choice], wanted: Logprobs, who: str) -> None:
    """Checks a reply whose labels are read from log-probabilities.

    One whose log-probabilities were there but could not be read is let through: it counts as unreadable.

    Args:
        who: the judge or stage that asked, as in 'judge rubric'.
    Raises:
        FactoryError: they are required, and an answer with a text has none, or none with alternatives.
    """
    for choice in choices if wanted == "required" else ():
        if not choice.text or (choice.logprobs is None and choice.note is not None and UNREADABLE in choice.note):
            continue
        if not any(token.top for token in choice.logprobs or ()):
            lacking = "alternatives (top_logprobs)" if choice.logprobs else "log-probabilities"
            raise FactoryError(
                f"{who}: logprobs is 'required', but its endpoint returns no {lacking}: use one that does "
                "(docs/endpoints.md), or set logprobs to true, which counts what the model writes where there are none"
            )
