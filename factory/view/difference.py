"""The word-level difference of two texts, as pieces to be shown; pure, and independent of how they are drawn."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rapidfuzz.distance import Indel

from stores.likeness import WORDS

_WORDS_BEFORE_GAPS = re.compile(rf"({WORDS.pattern})(\s*)")
_MOST_CELLS = 400_000_000
"""Words of one text times words of the other, after what they share at both ends: Indel takes a bit for each (50 MB)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text that both have, or only one of them."""

    kind: Literal["equal", "removed", "added", "folded"]
    """folded: equal, and not to be shown unless asked for (`folded`)"""
    text: str


def difference(a: str, b: str) -> list[Piece]:
    """What has to be removed from `a` and added to it to make `b`, by words (as `stores.likeness.words` has them).

    Nothing is lost: all but the added pieces together are `a`, all but the removed ones are `b`; white space counts. In a
    change, what was removed comes before what was added. Alignment: the longest common subsequence of words; where what
    differs is too long for it (above 20,000 words each), all between the first and the last difference counts as changed.
    """
    left, right = _tokens(a), _tokens(b)
    pieces: list[Piece] = []
    same, removed, added = "", "", ""

    def end_change() -> None:
        nonlocal same, removed, added
        # White space at the end of both sides stays out of the change.
        gap = _shared_end(removed, added)
        if gap:
            removed, added, same = removed[:-gap], added[:-gap], removed[-gap:]
        pieces.extend(piece for piece in (Piece("removed", removed), Piece("added", added)) if piece.text)
        removed = added = ""

    for equal, left_part, right_part in _aligned([word for word, _ in left], [word for word, _ in right]):
        if not equal:
            if same:
                pieces.append(Piece("equal", same))
                same = ""
            removed += "".join(word + gap for word, gap in left[left_part])
            added += "".join(word + gap for word, gap in right[right_part])
            continue
        for (word, before), (_, after) in zip(left[left_part], right[right_part], strict=True):
            if removed or added:
                end_change()
            if before == after:
                same += word + before
                continue
            shared = _shared_start(before, after)
            if text := same + word + before[:shared]:
                pieces.append(Piece("equal", text))
            same, removed, added = "", before[shared:], after[shared:]
    if removed or added:
        end_change()
    if same:
        pieces.append(Piece("equal", same))
    return list(_merged(pieces))


def folded(pieces: list[Piece], around: int = 12) -> list[Piece]:
    """The pieces with what is equal and further than `around` words from a change as pieces of kind `folded`."""
    shown = []
    for at, piece in enumerate(pieces):
        if piece.kind != "equal" or len(pieces) == 1:
            shown.append(piece)
            continue
        ends = [found.end() for found in _WORDS_BEFORE_GAPS.finditer(piece.text)]
        first = ends[around - 1] if at and len(ends) > around else 0 if not at else len(piece.text)
        last = len(piece.text) if at == len(pieces) - 1 else ends[-around - 1] if len(ends) > around else 0
        if last - first < 80:  # the mark that opens a fold takes as much room as a few words
            shown.append(piece)
            continue
        parts = ("equal", piece.text[:first]), ("folded", piece.text[first:last]), ("equal", piece.text[last:])
        shown.extend(Piece(kind, text) for kind, text in parts if text)  # type: ignore[arg-type]
    return shown


def _tokens(text: str) -> list[tuple[str, str]]:
    """Words, each with the white space after it; the first is empty, for the white space before all others."""
    start = len(text) - len(text.lstrip())
    return [("", text[:start]), *_WORDS_BEFORE_GAPS.findall(text, start)]


def _aligned(left: list[str], right: list[str]) -> Iterator[tuple[bool, slice, slice]]:
    """Runs of words that are equal or not: their places on both sides."""
    pairs = zip(left, right, strict=False)
    start = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))
    most = min(len(left), len(right)) - start
    pairs = zip(left[::-1][:most], right[::-1][:most], strict=True)
    end = next((at for at, (a, b) in enumerate(pairs) if a != b), most)
    yield True, slice(0, start), slice(0, start)
    a, b = left[start : len(left) - end], right[start : len(right) - end]
    if len(a) * len(b) <= _MOST_CELLS:
        for code in Indel.opcodes(a, b):
            places = (
                slice(start + code.src_start, start + code.src_end),
                slice(start + code.dest_start, start + code.dest_end),
            )
            yield code.tag == "equal", *places
    else:
        yield False, slice(start, start + len(a)), slice(start, start + len(b))
    yield True, slice(len(left) - end, len(left)), slice(len(right) - end, len(right))


def _shared_start(a: str, b: str) -> int:
    return next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _shared_end(a: str, b: str) -> int:
    """How many characters of white space both texts end with."""
    return _shared_start(a[len(a.rstrip()) :][::-1], b[len(b.rstrip()) :][::-1])


def _merged(pieces: list[Piece]) -> Iterator[Piece]:
    last: Piece | None = None
    for piece in pieces:
        if last is not None and last.kind == piece.kind:
            last = Piece(piece.kind, last.text + piece.text)
            continue
        if last is not None:
            yield last
        last = piece
    if last is not None:
        yield last
