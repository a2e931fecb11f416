"""Reads a refiner's output and finds its flaws."""

import re
from dataclasses import dataclass

from stores.likeness import words

_MARKER = re.compile(r"^[ \t*#_]*refined (?:response|answer)[ \t]*:?[ \t*_]*:?[ \t*_]*", re.IGNORECASE | re.MULTILINE)
_REFLECTION = re.compile(r"^[\s*#_]*reflection[\s*_]*:?[\s*_]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Refinement:
    """What a refiner wrote."""

    text: str | None  # the refined answer; None: not found
    reflection: str | None


def read_refinement(output: str, *, with_reflection: bool) -> Refinement:
    """The reflection and the refined answer in a refiner's output.

    Args:
        with_reflection: whether the template asked for 'Reflection: ... Refined response: ...'; if not, the whole
            output is the answer. The first marker at the start of a line counts: the answer may repeat its words.
    """
    if not with_reflection:
        return Refinement(output.strip() or None, None)
    marker = _MARKER.search(output)
    if marker is None:
        return Refinement(None, None)
    reflection = _REFLECTION.sub("", output[: marker.start()]).strip()
    return Refinement(output[marker.end() :].strip() or None, reflection or None)


def asks_for_reflection(template: str) -> bool:
    return "Refined response:" in template


def flaw_of(text: str, finish_reason: str | None, parent: str) -> str | None:
    """The first flaw of a refined answer, whatever its verdict; None: no flaw."""
    if repeats_itself(text):
        return "repetitive"
    if finish_reason == "length":
        return "unended"
    return "unchanged" if text == parent else None


def repeats_itself(text: str) -> bool:
    """Whether a text ends in a loop: fewer than half of its last 200 four-word sequences are distinct."""
    last = words(text)[-203:]
    runs = [tuple(last[i : i + 4]) for i in range(len(last) - 3)]
    return len(runs) >= 40 and len(set(runs)) < len(runs) / 2
