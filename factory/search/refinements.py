"""Reading a refiner's output, and what is wrong with it."""

import re
from dataclasses import dataclass

from stores.likeness import words

_MARKER = re.compile(r"^[ \t*#_]*refined (?:response|answer)[ \t]*:?[ \t*_]*:?[ \t*_]*", re.IGNORECASE | re.MULTILINE)
_REFLECTION = re.compile(r"^[\s*#_]*reflection[\s*_]*:?[\s*_]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Refinement:
    """What a refiner wrote."""

    text: str | None  # the refined answer; None: it could not be found
    reflection: str | None


def read_refinement(output: str, *, with_reflection: bool) -> Refinement:
    """The reflection and the refined answer in a refiner's output.

    Args:
        with_reflection: whether the template asked for 'Reflection: ... Refined response: ...'; if not, the whole
            output is the answer. The first marker at the start of a line counts: an answer may hold the words again.
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
    """What is wrong with a refined answer whatever its judge says, the first of them that holds; None: nothing."""
    if repeats_itself(text):
        return "repetitive"
    if finish_reason == "length":
        return "unended"
    return "unchanged" if text == parent else None


def repeats_itself(text: str) -> bool:
    """Whether the end of a text goes in circles: fewer than half of its last 200 runs of four words are different."""
    last = words(text)[-203:]
    runs = [tuple(last[i : i + 4]) for i in range(len(last) - 3)]
    return len(runs) >= 40 and len(set(runs)) < len(runs) / 2
