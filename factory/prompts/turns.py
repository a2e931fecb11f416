"""Reads dialogues: lists of turns in OpenAI's keys (`role`, `content`), ShareGPT's (`from`, `value`) or others.

What a turn of ours cannot hold, such as tool calls or images, is refused by name: a dialogue without it is another.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from factory.prompts.files import read_json
from schemas.errors import FactoryError
from schemas.tables import Message

ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "chatgpt", "bing", "bard"), "assistant"),
}
"""Names of roles in data sets, in lower case, and ours."""
KEYS = ("role", "content", "system", "user", "assistant")
"""What `keys` may map: the keys of a turn, and names of roles."""
SHOWN = 60
_HH = re.compile(r"\n\n(Human|Assistant):")


@dataclass(frozen=True, slots=True)
class Reading:
    """How turns are written, as the user's settings say."""

    keys: Mapping[str, str] = field(default_factory=dict)
    """members of KEYS: their names in the source"""
    leave_out: Sequence[str] = ()
    """fields that may be dropped"""


def read_turns(given: Any, where: str, name: str, reading: Reading) -> list[Message]:
    """The turns of a dialogue, as a list or as JSON text.

    Args:
        name: the column, for errors.
    Raises:
        FactoryError: which turn cannot be kept, and why.
    """
    if isinstance(given, str):
        if is_hh(given):
            return _hh_turns(given, where, name)
        if looks_like_python(given):
            raise FactoryError(
                f"{where}: {name} is a list as Python prints it, not JSON: write it with json.dumps, or as Parquet"
            )
        given = read_json(given, where, name)
    if not isinstance(given, list):
        raise FactoryError(f"{where}: {name} must be a list of turns, got {shown(given)}")
    return [_turn(turn, f"{where}: {name}, turn {number}", reading) for number, turn in enumerate(given, 1)]


def whole_text(value: str, where: str, name: str) -> str:
    """The text itself, if it can be written as UTF-8.

    Raises:
        FactoryError: it holds half a surrogate pair, such as half an emoji, and at which character.
    """
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise FactoryError(
            f"{where}: {name} has half a surrogate pair (half an emoji, U+{ord(value[error.start]):04X}) at character "
            f"{error.start + 1}: remove it"
        ) from error
    return value


def turns_in_text(text: str) -> bool:
    """Whether a text is in truth a dialogue: turns as JSON or as Python prints them, or in Anthropic's HH form."""
    if is_hh(text) or looks_like_python(text):
        return True
    if not re.match(r"\s*\[\s*\{", text):
        return False
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return all(
        isinstance(turn, dict) and ({"role", "content"} <= {*turn} or {"from", "value"} <= {*turn}) for turn in found
    )


def is_hh(text: str) -> bool:
    """Whether a text is a dialogue as in Anthropic's HH data: '\\n\\nHuman: ...\\n\\nAssistant: ...'."""
    return text.startswith("\n\nHuman:") and "\n\nAssistant:" in text


def looks_like_python(text: str) -> bool:
    return re.match(r"\s*(array\()?\[\s*\{'(role|content|from|value)'", text) is not None


def shown(value: Any) -> str:
    """A value for an error, cut short."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def is_empty(value: Any) -> bool:
    """Whether a field says nothing: null, NaN, or an empty text, list or object."""
    return value is None or value != value or (isinstance(value, str | list | dict) and not value)


def not_kept(names: Sequence[str], where: str) -> FactoryError:
    """The refusal of fields that a row of ours has no place for."""
    joined = " and ".join(names)
    are = "are" if len(names) > 1 or joined.endswith("s") else "is"
    return FactoryError(
        f"{where}: {joined} {are} not kept: remove the row, or if the dialogue is whole without, "
        f"leave out: -o 'prompts.leave_out=[{', '.join(names)}]'"
    )


def _turn(turn: Any, where: str, reading: Reading) -> Message:
    if not isinstance(turn, dict):
        raise FactoryError(f"{where}: this is {shown(turn)}, not an object with 'role' and 'content'")
    role_key = reading.keys.get("role") or ("role" if "role" in turn or "from" not in turn else "from")
    text_key = reading.keys.get("content") or ("content" if "content" in turn or "value" not in turn else "value")
    if missing := [key for key in (role_key, text_key) if key not in turn and not (key == text_key and "role" in turn)]:
        raise FactoryError(
            f"{where}: there is no {' and no '.join(map(repr, missing))}, only {', '.join(map(str, turn)) or 'nothing'}: name "
            "the keys with -o prompts.keys.role=… -o prompts.keys.content=…"
        )
    role = _role(turn[role_key], where, reading)
    if more := [
        key
        for key, value in turn.items()
        if key not in (role_key, text_key, *reading.leave_out) and not is_empty(value)
    ]:
        raise not_kept(more, where)
    return Message(role, whole_text(_text(turn.get(text_key), role, where), where, "the text"))


def _role(given: Any, where: str, reading: Reading) -> str:
    own = {reading.keys[role]: role for role in ("system", "user", "assistant") if role in reading.keys}
    role = own.get(given) or ROLES.get(given.lower()) if isinstance(given, str) else None
    if role is None:
        raise FactoryError(
            f"{where}: a turn of role {shown(given)} is not kept: a dialogue has turns of system, user and assistant "
            "(-o prompts.keys.user=… gives another name of one)"
        )
    return role


def _text(content: Any, role: str, where: str) -> str:
    """The text of a turn; parts of type text are joined."""
    if isinstance(content, str):
        return content
    if content is None or content != content:
        if role == "assistant":  # as in a turn that only called a tool
            return ""
        raise FactoryError(f"{where}: the content of this {role}'s turn is null: give it a text, or remove the row")
    if not isinstance(content, list):
        raise FactoryError(f"{where}: content must be text, got {shown(content)}")
    parts = [part if isinstance(part, dict) else {"type": "text", "text": part} for part in content]
    others = sorted({str(part.get("type")) for part in parts if part.get("type") != "text"})
    if others:
        raise FactoryError(f"{where}: content is a list of {' and '.join(others)} parts: only text is kept")
    texts = [part.get("text") for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise FactoryError(f"{where}: content is a list with a part that has no text")
    return "".join(map(str, texts))


def _hh_turns(text: str, where: str, name: str) -> list[Message]:
    """Turns of Anthropic's HH form; a closing 'Assistant:' without text only asks for the answer."""
    pieces = _HH.split(whole_text(text, where, name))[1:]
    roles = {"Human": "user", "Assistant": "assistant"}
    turns = [Message(roles[who], said.strip()) for who, said in zip(pieces[::2], pieces[1::2], strict=True)]
    return turns[:-1] if turns[-1] == Message("assistant", "") else turns
