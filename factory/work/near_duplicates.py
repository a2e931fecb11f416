"""Near duplicates among texts by ROUGE-L, as Self-Instruct leaves them out (arXiv:2212.10560, 2.2)."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rapidfuzz import process
from rapidfuzz.distance import Indel

_UNSPACED = "\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af"
_WORDS = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_SURROGATES, _CHARACTERS = range(0xD800, 0xE000), 0x110000
_UNKNOWN = "\0"


def rouge_words(text: str) -> list[str]:
    """Lower-case runs of letters and digits; in scripts without spaces, each character."""
    return _WORDS.findall(text.lower())


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts to compare others with, the shortest first."""

    ids: tuple[str, ...]
    coded: tuple[str, ...]
    """each word as one character: rapidfuzz compares characters several times as fast as words"""
    lengths: tuple[int, ...]
    """in words"""
    codes: Mapping[str, str]
    """the character of each word"""

    @classmethod
    def of(cls, texts: Iterable[tuple[str, str]]) -> "Texts":
        """Of pairs of an id and a text."""
        codes: dict[str, str] = {}
        rows = []
        for id, text in sorted(texts):
            coded = "".join(
                codes.get(word) or codes.setdefault(word, _character(len(codes))) for word in rouge_words(text)
            )
            if coded:
                rows.append((len(coded), id, coded))
        rows.sort()
        return cls(tuple(row[1] for row in rows), tuple(row[2] for row in rows), tuple(row[0] for row in rows), codes)

    def nearest(self, text: str, least: float) -> tuple[str, float] | None:
        """The id of the most similar text and the similarity, of those at least `least` (above 0, to 1) similar.

        ROUGE-L's F1 of two texts of m and n words is 2 LCS / (m + n), the normalised indel similarity of the words.
        """
        # A word that no text has matches nothing.
        coded = "".join(self.codes.get(word, _UNKNOWN) for word in rouge_words(text))
        if not coded:
            return None
        # LCS <= min(m, n), so a text that is much shorter or longer cannot reach `least`. One word is left for rounding.
        first = bisect_left(self.lengths, len(coded) * least / (2 - least) - 1)
        last = bisect_right(self.lengths, len(coded) * (2 - least) / least + 1)
        found = process.extractOne(
            coded, self.coded[first:last], scorer=Indel.normalized_similarity, score_cutoff=least
        )
        return None if found is None else (self.ids[first + found[2]], found[1])


def _character(number: int) -> str:
    """A character for the word with this number, from 0. After a million words characters stand for several."""
    place = 1 + number % (_CHARACTERS - len(_SURROGATES) - 1)
    return chr(place if place < _SURROGATES.start else place + len(_SURROGATES))
