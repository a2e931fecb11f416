"""Two texts side by side: each with its own part of their difference, as far as a page shows it."""

from dataclasses import dataclass

from factory.monitor.difference import Part, parts_of
from schemas.tables import Response

CHARACTERS_SHOWN = 20_000
"""of each side in a page"""


@dataclass(frozen=True, slots=True)
class Side:
    """One side as it is shown."""

    name: str
    """chosen or rejected; first or second where the reader may not know which it is"""
    pieces: tuple[Part, ...]
    cut: int
    """characters that are not shown"""
    facts: tuple[tuple[str, str], ...]


def parts_between(old: str, new: str, *, fold: bool = False) -> list[Part]:
    """The difference of two texts as far as a page shows them; white space counts, so that each side is shown as it is.

    Args:
        fold: what is long and the same in both becomes parts of kind `folded`.
    """
    old, new = old[:CHARACTERS_SHOWN], new[:CHARACTERS_SHOWN]
    parts = parts_of(old, new, space=True, fold=fold)
    return [Part("removed", old, 0), Part("added", new, 0)] if parts is None else parts


def side_of(name: str, response: Response, pieces: list[Part], own: str, models: dict[str, str]) -> Side:
    """One side.

    Args:
        own: the kind of pieces that only this side has, added or removed.
    """
    model = "a person" if response.kind == "edited" else "not known"
    facts = [
        ("kind", response.kind),
        ("model", model if response.model_id is None else models.get(response.model_id, response.model_id)),
        ("run", response.run_id),
        ("stage", response.stage or ""),
        ("tokens", "" if response.tokens is None else f"{response.tokens:,}"),
        ("ended by", response.finish_reason or ""),
        ("flaw", response.flaw or ""),
        ("id", response.response_id),
    ]
    return text_side(name, response.text, pieces, own, tuple(fact for fact in facts if fact[1]))


def text_side(name: str, text: str, pieces: list[Part], own: str, facts: tuple[tuple[str, str], ...] = ()) -> Side:
    """One side of which only the text is shown, and the facts given."""
    shown, left = [], CHARACTERS_SHOWN
    for piece in pieces:
        if piece.kind not in ("same", "folded", own) or left <= 0:
            continue
        shown.append(Part(piece.kind, piece.text[:left], piece.words))
        left -= len(piece.text)
    return Side(name, tuple(shown), max(len(text) - sum(len(piece.text) for piece in shown), 0), facts)
