"""Constraints that no answer can meet, because of how IFEval's checkers look."""

from typing import Any

from factory.verifier.checkers import kwargs_of
from schemas.tables import Constraint

_ENDS_A_WORD = set(".,?!'\"")  # where the checker of first words stops reading
_FEWEST = {"num_sentences": 2}  # every answer has a sentence; of other things there may be none


def why_never(constraint: Constraint) -> str | None:
    """Why no answer meets the constraint; None if one can."""
    kwargs = kwargs_of(constraint)
    if constraint.id == "length_constraints:nth_paragraph_first_word":
        return _first_word(str(kwargs.get("first_word", "")))
    if constraint.id == "length_constraints:number_paragraphs" and kwargs.get("num_paragraphs") == 0:
        return "every answer has a paragraph"
    return _too_few(kwargs)


def _first_word(word: str) -> str | None:
    plain = word.strip()
    if len(plain.split()) > 1:
        return f'the checker compares one word, and "{word}" is several'
    mark = next((letter for letter in plain if letter in _ENDS_A_WORD), None)
    if mark is None:
        return None
    return f'the checker reads a first word only up to a {mark} and so never finds "{word}"'


def _too_few(kwargs: dict[str, Any]) -> str | None:
    if "less than" not in [value for name, value in kwargs.items() if name.endswith("relation")]:
        return None
    for name, limit in kwargs.items():
        if isinstance(limit, int | float) and limit < _FEWEST.get(name, 1):
            return f"no answer has less than {limit} of what it counts"
    return None
