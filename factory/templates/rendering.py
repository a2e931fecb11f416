"""Prompt templates: text files with {placeholders}, filled in one pass.

What is filled in is never read for placeholders again, so an answer that holds '{prompt}' stays as it is.
`stores/sql/views/render.sql` does the same in SQL, and a test holds the two together.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from schemas.errors import FactoryError
from schemas.tables import Message
from stores.named_files import read_named

FOLDER = Path(__file__).parent
_PLACEHOLDER = re.compile(r"\{(prompt|response|critique)\}")
_ANY_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def load_template(name: str) -> str:
    """A bundled template by name, or a file by its path.

    Raises:
        FactoryError: no such template, one that is not UTF-8, or one with a placeholder other than {prompt}, {response}
            and {critique}.
    """
    file, text = read_named(FOLDER, ".txt", name, "prompt template")
    unknown = set(_ANY_PLACEHOLDER.findall(text)) - {"prompt", "response", "critique"}
    if unknown:
        raise FactoryError(
            f"template {file}: unknown placeholder {{{min(unknown)}}}: "
            "a template takes {prompt} and {response}, and one to refine also {critique}"
        )
    return text.rstrip("\n")


def render(template: str, prompt: str, response: str = "", critique: str = "") -> str:
    values = {"prompt": prompt, "response": response, "critique": critique}
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


def refine_turns(templates: Mapping[str, str], prompt: str, response: str, critique: str) -> list[Message]:
    """What a refiner is asked: SPaR's dialogue (judge, critique, refine), where the critique is its own.

    A refine template that holds {critique} is all of the question, in one turn.
    """
    question = Message("user", render(templates["refine"], prompt, response, critique))
    if "{critique}" in templates["refine"]:
        return [question]
    return [
        Message("user", render(templates["judge"], prompt, response)),
        Message("assistant", critique),
        question,
    ]


def conversation(messages: Sequence[Message]) -> str:
    """A prompt as a judge reads it: one user's turn as it stands, a longer conversation with its roles."""
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"[{m.role}]\n{m.content}" for m in messages)
