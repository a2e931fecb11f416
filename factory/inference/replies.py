"""An endpoint's replies: chat completions. What fails is in `failures.py`."""

from dataclasses import replace
from typing import Any

from factory.inference.failures import Failure
from factory.inference.journal import Choice
from factory.inference.logprobs import encodable, read_tokens


def read_completion(document: Any) -> tuple[list[Choice], int | None, int | None]:
    """The choices of a chat completion, its prompt tokens and its completion tokens.

    Raises:
        Failure: the document is not a chat completion.
    """
    try:
        choices = [_choice(choice) for choice in document["choices"]]
        usage = document.get("usage")
        usage = usage if isinstance(usage, dict) else {}
    except (TypeError, KeyError, AttributeError) as error:
        raise Failure("answered in JSON, but with no chat completion") from error
    if not choices:
        raise Failure("answered with no choices")
    if len(choices) == 1:
        choices = [replace(choices[0], tokens=usage.get("completion_tokens"))]
    return choices, usage.get("prompt_tokens"), usage.get("completion_tokens")


def _choice(choice: dict[str, Any]) -> Choice:
    text = encodable(choice["message"].get("content") or "")
    return Choice(text, choice.get("finish_reason"), None, read_tokens(choice.get("logprobs"), text))
