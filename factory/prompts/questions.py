"""What a row asks, whatever its shape: a text, a dialogue, or the common start of a preference's two dialogues.

A column that the user names wins. Else the first that a row has of: `messages`, `conversations`, `prompt`, the question
of UltraFeedback (`instruction`) or HelpSteer3 (`context`), and what `chosen` and `rejected` begin with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from factory.prompts.settings import PromptSettings
from factory.prompts.turns import (
    KEYS,
    Reading,
    is_empty,
    not_kept,
    read_turns,
    shown,
    turns_in_text,
    whole_text,
)
from schemas.errors import FactoryError, nearest
from schemas.tables import Message

COLUMNS = (
    "prompt", "messages", "system", "language", "subject", "licence", "constraints", "reference",
    "instruction_id_list", "kwargs",
)  # fmt: skip
"""The columns that a source can fill: `prompt` (one user turn) or `messages`, and optionally the others."""
ANSWERS = ("chosen", "rejected")
"""Further columns of `factory import`."""
GUESSED = ("messages", "conversations", "conversation", "prompt")
_TOOLS = ("tools", "functions")  # of the whole dialogue: an answer to it may be a call


@dataclass(frozen=True, slots=True)
class Columns:
    """How rows are read: the user's names, and how turns are written."""

    named: Mapping[str, str] = field(default_factory=dict)
    """our column: the source's"""
    reading: Reading = Reading()

    def value(self, row: Mapping[str, Any], ours: str) -> Any:
        """A row's value of one of our columns; None if it has none. NaN is none, too."""
        found = row.get(self.named.get(ours, ours))
        return None if found != found else found

    def wanted(self) -> set[str]:
        """Columns of the source, any of which shows that a CSV file's header was split rightly."""
        return {*GUESSED, *COLUMNS, *ANSWERS, *self.named.values()}


@dataclass(frozen=True, slots=True)
class Question:
    """A dialogue up to the answer, and the answer that the source gives after it."""

    messages: list[Message]
    answer: str | None


def columns_of(settings: PromptSettings, allowed: tuple[str, ...] = COLUMNS) -> Columns:
    """The settings' names, checked.

    Raises:
        FactoryError: `columns` or `keys` name something of ours that does not exist.
    """
    for name, given, known in (("columns", settings.columns, allowed), ("keys", settings.keys, KEYS)):
        if unknown := set(given) - set(known):
            kind = name.removesuffix("s")
            raise FactoryError(f"prompts.{name}: unknown {kind} {min(unknown)!r}: {nearest(min(unknown), known)}")
    return Columns(settings.columns, Reading(settings.keys, settings.leave_out))


def check_columns(columns: Columns, row: Mapping[str, Any], where: str) -> None:
    """Checks in a file's first row that the named columns and a question are there."""
    there = ", ".join(map(str, row))
    for ours, theirs in columns.named.items():
        if theirs not in row:
            raise FactoryError(f"{where}: there is no column {theirs!r} (prompts.columns.{ours}): use one of {there}")
    if not {"prompt", "messages"} & {*columns.named} and _guess(row) is None:
        raise FactoryError(
            f"{where}: there is no column 'prompt' or 'messages', only {there}: name the right one, as in "
            "-o prompts.columns.prompt=question"
        )


def question_of(row: Mapping[str, Any], columns: Columns, where: str) -> Question:
    """What the row asks.

    Raises:
        FactoryError: no question, or one that cannot be kept, with the cause.
    """
    tools = [name for name in _TOOLS if not is_empty(row.get(name)) and row[name] not in ("[]", "{}", "null")]
    if lost := [name for name in tools if name not in columns.reading.leave_out]:
        raise not_kept(lost, where)
    turns = _turns(row, columns, where)
    system = columns.value(row, "system")
    if not isinstance(system, str | None):
        raise FactoryError(f"{where}: system must be text, got {shown(system)}")
    if system:
        if turns and turns[0].role == "system" and turns[0].content != system:
            raise FactoryError(f"{where}: both the column system and the first turn give a system prompt: remove one")
        if not turns or turns[0].role != "system":
            turns = [Message("system", whole_text(system, where, "system")), *turns]
    answer = None
    if turns and turns[-1].role == "assistant":
        answer = turns[-1].content
        turns = turns[:-1]
    if not turns or turns[-1].role != "user":
        ends = f"ends with a turn of the {turns[-1].role}" if turns else "has no turn"
        before = " before the assistant's last" if answer is not None else ""
        raise FactoryError(f"{where}: the prompt is empty: it {ends}{before}, but the user's must be there")
    if not turns[-1].content.strip():
        raise FactoryError(f"{where}: the prompt is empty: the user's last turn has no text")
    return Question(turns, answer or None)


def common_start(row: Mapping[str, Any], columns: Columns, where: str) -> list[Message]:
    """The turns with which both sides of a preference without a prompt begin."""
    sides = [
        read_turns(columns.value(row, name), where, columns.named.get(name, name), columns.reading) for name in ANSWERS
    ]
    start = []
    for one, other in zip(*sides, strict=False):
        if one != other:
            break
        start.append(one)
    while start and start[-1].role != "user":  # equal sides, or a common first turn of the answer
        start.pop()
    return start


def _turns(row: Mapping[str, Any], columns: Columns, where: str) -> list[Message]:
    named = [ours for ours in ("messages", "prompt") if ours in columns.named]
    column = next((columns.named[ours] for ours in named if not is_empty(columns.value(row, ours))), None)
    if column is None and named:
        column = columns.named[named[0]]
    column = column or _guess(row)
    if column is None:
        raise FactoryError(
            f"{where}: the prompt is empty: there is no 'prompt' or 'messages', only {', '.join(map(str, row))}"
        )
    if column == "chosen" and "chosen" not in {columns.named.get(ours) for ours in named}:
        return common_start(row, columns, where)
    given = row.get(column)
    if given is None or given != given:
        raise FactoryError(f"{where}: the prompt is empty: {column} is null, or not there")
    is_dialogue = column in GUESSED[:3] or column == columns.named.get("messages")
    if isinstance(given, list) or (isinstance(given, str) and (is_dialogue or turns_in_text(given))):
        return read_turns(given, where, column, columns.reading)
    if is_dialogue:
        raise FactoryError(f"{where}: {column} must be a list of turns, got {shown(given)}")
    if not isinstance(given, str):
        raise FactoryError(f"{where}: the prompt must be text or a list of turns, got {shown(given)}")
    return [Message("user", whole_text(given, where, column))]


def _guess(row: Mapping[str, Any]) -> str | None:
    """The column that holds the question, by the shapes that are common; 'chosen': what both sides begin with."""
    found = next((name for name in GUESSED if not is_empty(row.get(name))), None)
    if found is not None:
        return found
    if isinstance(row.get("completions"), list) and "instruction" in row:
        return "instruction"
    if {"input", "output_1", "output_2"} <= row.keys():
        return "input"
    if "context" in row and {"response1", "response2"} <= row.keys():
        return "context"
    if all(
        isinstance(side := row.get(name), list) or (isinstance(side, str) and turns_in_text(side)) for name in ANSWERS
    ):
        return "chosen"
    return next((name for name in GUESSED if name in row), None)
