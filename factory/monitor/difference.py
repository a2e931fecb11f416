"""Word-level differences of two texts: as many words as possible stay (the longest common subsequence)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Indel

from stores.likeness import WORDS, words

COMPARABLE = 400_000_000
"""product of the two texts' words beyond which they are not compared: it takes a bit of memory for each pair of words"""
FOLD_FROM, FOLD_AROUND = 40, 12
"""words of an unchanged run that is folded, and of those that stay visible at each of its ends"""
_SIGNS = str.maketrans({" ": "·", "\t": "→\t", "\n": "↵\n", "\r": "␍", "\xa0": "⍽"})
_SPACED = re.compile(rf"\s*(?:{WORDS.pattern})|\s+")


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a difference."""

    kind: str
    """same, removed, added, or folded: unchanged and long, so hidden until it is asked for"""
    text: str
    words: int

    @property
    def marked(self) -> str:
        """The text with its white space as signs."""
        return self.text.translate(_SIGNS)


def parts_of(old: str, new: str, *, space: bool = False, fold: bool = True) -> list[Part] | None:
    """The difference of two texts, word by word; None: they are too long to be compared.

    The parts except the removed ones make up `new`, white space included.

    Args:
        space: each word's white space before it is a part of it: where that differs, the word has changed. By default white
            space alone is no change.
        fold: long unchanged runs are cut into a beginning, a folded middle and an end.
    """
    split = _SPACED.findall if space else words
    old_words, new_words = split(old), split(new)
    if len(old_words) * len(new_words) > COMPARABLE:
        return None
    parts = [Part(kind, text, len(words(text))) for kind, text in _difference(old, new, old_words, new_words)]
    if not fold:
        return parts
    last = len(parts) - 1
    return [piece for at, part in enumerate(parts) for piece in _folded(part, first=at == 0, last=at == last)]


def _folded(part: Part, *, first: bool, last: bool) -> Iterator[Part]:
    """An unchanged run, whose middle is folded if it is long; at an end of the text, from there on."""
    head, tail = 0 if first else FOLD_AROUND, 0 if last else FOLD_AROUND
    if part.kind != "same" or part.words < FOLD_FROM or (first and last):
        yield part
        return
    ends = _ends(part.text, words(part.text))
    cut, rest = ends[head], ends[part.words - tail] if tail else len(part.text)
    if head:
        yield Part("same", part.text[:cut], head)
    yield Part("folded", part.text[cut:rest], part.words - head - tail)
    if tail:
        yield Part("same", part.text[rest:], tail)


def _difference(old: str, new: str, old_words: Sequence[str], new_words: Sequence[str]) -> list[tuple[str, str]]:
    old_ends, new_ends = _ends(old, old_words), _ends(new, new_words)
    parts: list[tuple[str, str]] = []
    old_at = new_at = 0
    # Changes lie between matching blocks; the last block is empty, at the end of both texts.
    for same in Indel.opcodes(old_words, new_words).as_matching_blocks():
        if same.a > old_at:
            parts.append(("removed", old[old_ends[old_at] : old_ends[same.a]]))
        if same.b > new_at:
            parts.append(("added", new[new_ends[new_at] : new_ends[same.b]]))
        old_at, new_at = same.a + same.size, same.b + same.size
        if same.size:
            parts.append(("same", new[new_ends[same.b] : new_ends[new_at]]))
    if rest := new[new_ends[-1] :]:
        if parts and parts[-1][0] == "same":
            rest = parts.pop()[1] + rest
        parts.append(("same", rest))
    return parts


def _ends(text: str, found: Sequence[str]) -> list[int]:
    """Where each word ends, 0 first: a word includes the white space before it."""
    ends = [0]
    for word in found:
        ends.append(text.index(word, ends[-1]) + len(word))
    return ends
