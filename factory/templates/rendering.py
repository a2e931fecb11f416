"""Prompt templates: text files with {placeholders}, filled in one pass.

Inserted values are not searched for placeholders, so an answer that contains '{prompt}' stays as it is.
`stores/sql/views/render.sql` does the same in SQL; a test gives both the same cases.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import FactoryError
from schemas.tables import Message
from stores.named_files import read_named

FOLDER = Path(__file__).parent
PLACEHOLDERS = (
    "prompt", "response", "critique", "reference", "first", "second", "item", "examples", "claim", "passages", "question",
)  # fmt: skip
"""What a template may show: a call's rows hold these, so that view `call_messages` can render it again."""
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class TemplateUse:
    """A template that a stage renders: the bundled default, and what it may show."""

    default: str
    shows: tuple[str, ...]


def load_template(name: str, shows: Sequence[str] = PLACEHOLDERS) -> str:
    """A bundled template by name, or a file by path.

    Raises:
        FactoryError: no such template, not UTF-8, or a placeholder that is not in `shows`.
    """
    file, text = read_named(FOLDER, ".txt", name, "prompt template")
    unknown = set(_PLACEHOLDER.findall(text)) - set(shows)
    if unknown:
        takes = ", ".join(f"{{{name}}}" for name in shows)
        raise FactoryError(f"template {file}: unknown placeholder {{{min(unknown)}}}: this template may use {takes}")
    return text.rstrip("\n")


def render(template: str, **values: str) -> str:
    """Fills a template's placeholders; one without a value stays as it is."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), template)


def refine_turns(judge_template: str, refine_template: str, prompt: str, response: str, critique: str) -> list[Message]:
    """The refiner's messages: SPaR's dialogue (judge, critique, refine), with the critique as the refiner's own turn.

    A refine template with {critique} is the whole question, in one turn.
    """
    question = Message("user", render(refine_template, prompt=prompt, response=response, critique=critique))
    if "{critique}" in refine_template:
        return [question]
    return [
        Message("user", render(judge_template, prompt=prompt, response=response)),
        Message("assistant", critique),
        question,
    ]


def conversation(messages: Sequence[Message]) -> str:
    """A prompt as a judge reads it: a single turn as it is, a longer conversation with its roles."""
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"[{m.role}]\n{m.content}" for m in messages)
