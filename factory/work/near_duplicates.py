"""Near duplicates among texts by ROUGE-L, as Self-Instruct leaves them out (arXiv:2212.10560, 2.2)."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from rapidfuzz import process
from rapidfuzz.distance import Indel

_UNSPACED = "\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af"
_WORDS = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


def rouge_words(text: str) -> list[str]:
    """Lower-case runs of letters and digits; in scripts without spaces, each character."""
    return _WORDS.findall(text.lower())


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts to compare others with, the shortest first."""

    ids: tuple[str, ...]
    words: tuple[list[str], ...]
    lengths: tuple[int, ...]
    """in words"""

    @classmethod
    def of(cls, texts: Iterable[tuple[str, str]]) -> "Texts":
        """Of pairs of an id and a text."""
        rows = sorted((len(words), id, words) for id, text in texts if (words := rouge_words(text)))
        return cls(tuple(row[1] for row in rows), tuple(row[2] for row in rows), tuple(row[0] for row in rows))

    def nearest(self, text: str, least: float) -> tuple[str, float] | None:
        """The id of the most similar text and the similarity, of those at least `least` (above 0, to 1) similar.

        ROUGE-L's F1 of two texts of m and n words is 2 LCS / (m + n), the normalised indel similarity of the words.
        """
        words = rouge_words(text)
        if not words:
            return None
        # LCS <= min(m, n), so a text that is much shorter or longer cannot reach `least`. One word is left for rounding.
        first = bisect_left(self.lengths, len(words) * least / (2 - least) - 1)
        last = bisect_right(self.lengths, len(words) * (2 - least) / least + 1)
        found = process.extractOne(
            words, self.words[first:last], scorer=Indel.normalized_similarity, score_cutoff=least
        )
        return None if found is None else (self.ids[first + found[2]], found[1])
