"""Reads a refiner's output."""

import re
from dataclasses import dataclass

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
