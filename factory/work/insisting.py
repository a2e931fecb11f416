"""Log-probabilities that a recipe insists on: an endpoint without them ends the run at its first answer."""

from collections.abc import Sequence
from typing import Literal

from factory.inference.journal import Choice
from schemas.errors import FactoryError

Logprobs = bool | Literal["required"]
"""A setting: whether to ask for them; required: without them no answer is taken."""


def insist(choices: Sequence[Choice], wanted: Logprobs, who: str) -> None:
    """Checks a reply whose labels are read from log-probabilities.

    Args:
        who: the judge or stage that asked, as in 'judge rubric'.
    Raises:
        FactoryError: they are required, and an answer with a text has none, or none with alternatives.
    """
    if wanted != "required":
        return
    for choice in choices:
        if choice.text and not any(token.top for token in choice.logprobs or ()):
            raise FactoryError(
                f"{who} insists on log-probabilities (logprobs: required), but its endpoint returned none with alternatives: "
                "use an endpoint that returns top_logprobs, or set logprobs: true to read the written label where there are none"
            )
