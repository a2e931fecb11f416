"""Reads the values of a reply or of a journal's row: what is odd becomes None, with a note that says what it was."""

import json
from typing import Any

MOST_TOKENS = 1_000_000_000
"""No reply has more: a larger count is an error, and sums of such counts would not fit a column."""
LONGEST_WORD = 64
MARKS = "\u200b\u200c\u200d\u2060\ufeff"
"""without width: they are no text by themselves"""
_UNSEEN = "".join(filter(str.isspace, map(chr, range(0x3001)))) + MARKS


class Twice:
    """Stands for the value of a key that an object has twice, with different values."""


def read_json(content: bytes | str) -> Any:
    """The document in a JSON text, with NaN and infinities, which Python's servers send.

    Raises:
        ValueError: it is not JSON, not in UTF-8, or nested too deeply to be read.
    """
    try:
        return json.loads(content, object_pairs_hook=_object, parse_int=_whole)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if found[key] is not value and found[key] != value:
                found[key] = Twice()
    return found


def _whole(digits: str) -> int | float:
    # Python refuses to read thousands of digits; as a float they are infinite, which is odd wherever it is read.
    return int(digits) if len(digits) < 20 else float(digits)


def shape_of(value: Any) -> str:
    """A value in a few words, for a note: never its whole text, which may be huge."""
    match value:
        case None:
            return "missing"
        case Twice():
            return "there twice"
        case bool() | int() | float():
            return str(value)
        case str():
            return f"the text {' '.join(value[:400].split())[:40]!r}"
        case list():
            return "a list"
        case dict():
            return "an object"
    return type(value).__name__


def tokens_or_none(value: Any, name: str, notes: list[str]) -> int | None:
    """A number of tokens; None if it is missing or, with a note, odd."""
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and 0 <= value <= MOST_TOKENS and value == int(value):
        return int(value)
    notes.append(f"{name} is {shape_of(value)}")
    return None


def word_or_none(value: Any, name: str, notes: list[str]) -> str | None:
    """A short printable text, such as a finish reason; None if it is missing or, with a note, odd."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and len(value) <= LONGEST_WORD and value.isprintable():
        return value
    notes.append(f"{name} is {shape_of(value)}")
    return None


def is_blank(text: str) -> bool:
    """Whether there is nothing to read in a text: only white space and marks without width."""
    return not text.strip(_UNSEEN)


def storable(text: str, notes: list[str] | None = None) -> str:
    """The text without what databases cannot store: halves of an emoji, which UTF-8 cannot encode, and NUL."""
    kept = text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    if notes is not None and kept != text:
        changed = sum(one != other for one, other in zip(text, kept, strict=True))
        notes.append(f"characters that cannot be stored, replaced: {changed}")
    return kept
