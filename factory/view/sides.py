"""Two texts side by side: each with its own part of their difference, as far as a page shows it."""

from dataclasses import dataclass

from factory.view.difference import Piece
from schemas.tables import Response

CHARACTERS_SHOWN = 20_000
"""of each side in a page"""


@dataclass(frozen=True, slots=True)
class Side:
    """One side as it is shown."""

    name: str
    """chosen or rejected; first or second where the reader may not know which it is"""
    pieces: tuple[Piece, ...]
    cut: int
    """characters that are not shown"""
    facts: tuple[tuple[str, str], ...]


def side_of(name: str, response: Response, pieces: list[Piece], own: str, models: dict[str, str]) -> Side:
    """One side.

    Args:
        own: the kind of pieces that only this side has, added or removed.
    """
    facts = [
        ("kind", response.kind),
        ("model", models.get(response.model_id, response.model_id) if response.model_id is not None else "a person"),
        ("run", response.run_id),
        ("stage", response.stage or ""),
        ("tokens", "" if response.tokens is None else f"{response.tokens:,}"),
        ("ended by", response.finish_reason or ""),
        ("flaw", response.flaw or ""),
        ("id", response.response_id),
    ]
    if response.model_id is None and response.kind != "edited":
        facts[1] = ("model", "not known")
    return text_side(name, response.text, pieces, own, tuple(fact for fact in facts if fact[1]))


def text_side(name: str, text: str, pieces: list[Piece], own: str, facts: tuple[tuple[str, str], ...] = ()) -> Side:
    """One side of which only the text is shown, and the facts given."""
    shown, left = [], CHARACTERS_SHOWN
    for piece in pieces:
        if piece.kind not in ("equal", "folded", own) or left <= 0:
            continue
        shown.append(Piece(piece.kind, piece.text[:left]))
        left -= len(piece.text)
    return Side(name, tuple(shown), max(len(text) - sum(len(piece.text) for piece in shown), 0), facts)
