"""Finds passages of documents by BM25, exactly: every passage that shares a word with the query is scored.

BM25 as in Lucene (Kamphuis et al., ECIR 2020, "Which BM25 do you mean?"): sum over the query's words of
ln(1 + (N - df + 0.5) / (df + 0.5)) * tf / (tf + k1 * (1 - b + b * length / mean length)).
"""

import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from schemas import signals
from schemas.errors import FactoryError, nearest
from stores.lake import Lake

K1, B = 1.2, 0.75
"""Lucene's defaults"""
DECIMALS = 4
"""Scores are computed in 32 bits."""
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_LETTERS_A_WORD = 20
"""Texts with fewer spaces than one in so many letters are of a script that has none between words."""
_AT_ONCE = 2_000
_BLOCK = 256
"""passages of which the best is compared first"""


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a document, as a checker reads it."""

    document_id: str
    text: str
    """the document's title, if it has one, on a line of its own, and then the passage"""


@dataclass(frozen=True, slots=True)
class Found:
    """A passage and its BM25 score."""

    passage: Passage
    score: float


@dataclass(frozen=True, slots=True)
class Corpus:
    """Passages in memory, with their index."""

    passages: list[Passage]
    documents: int
    words: dict[str, int]
    index: Any
    built_s: float

    @property
    def note(self) -> str:
        """How large the index is, in a sentence."""
        scores = self.index.scores
        size = sum(scores[name].nbytes for name in ("data", "indices", "indptr"))
        size += sum(len(passage.text) for passage in self.passages)
        return (
            f"{len(self.passages):,} passages of {self.documents:,} documents indexed in {self.built_s:.1f} s, "
            f"about {math.ceil(size / 1e6):,} MB in memory"
        )

    def search(self, query: str, most: int) -> list[Found]:
        """The best passages, the highest score first and of equal ones the earlier passage; none shares no word."""
        import numpy as np

        known = [self.words[word] for word in dict.fromkeys(words_of(query)) if word in self.words]
        if not known:
            return []
        scores = self.index.get_scores_from_ids(known)
        # At least `most` passages reach the most-th best of the blocks' maxima, so the rest need not be sorted.
        best_of = np.maximum.reduceat(scores, np.arange(0, len(scores), _BLOCK))
        least = np.partition(best_of, -most)[-most] if most <= len(best_of) else 0.0
        at = np.flatnonzero((scores >= least) & (scores > 0))
        best = at[np.lexsort((at, -scores[at]))][:most]
        return [Found(self.passages[i], round(float(scores[i]), DECIMALS)) for i in best]


def words_of(text: str) -> list[str]:
    """The words that are compared, in lower case; a character of a script without spaces is one."""
    return _WORD.findall(text.lower())


def passages_of(text: str, words: int) -> list[str]:
    """A text cut into the fewest passages of equal length that have at most so many words."""
    pieces, joint = text.split(), " "
    if len(text) > _LETTERS_A_WORD * len(pieces):
        pieces, joint = list(" ".join(pieces)), ""
        words *= 2
    count = max(1, math.ceil(len(pieces) / words))
    ends = [round(len(pieces) * part / count) for part in range(count + 1)]
    return [joint.join(pieces[start:end]) for start, end in pairwise(ends)]


def index_documents(lake: Lake, source: str | None, passage_words: int) -> Corpus:
    """Indexes the lake's documents.

    Args:
        source: the corpus to take; None: all.
    Raises:
        FactoryError: there is no document to take, or none with a word.
        KeyboardInterrupt: a signal has come.
    """
    import bm25s

    started_s = time.monotonic()
    passages: list[Passage] = []
    words: dict[str, int] = {}
    ids: list[list[int]] = []
    documents = 0
    for document_id, title, text in _documents(lake, source):
        documents += 1
        for part in passages_of(text, passage_words):
            shown = f"{title}\n{part}" if title else part
            passages.append(Passage(document_id, shown))
            ids.append([words.setdefault(word, len(words)) for word in words_of(shown)])
    if not words:
        raise _nothing(lake, source)
    index = bm25s.BM25(method="lucene", k1=K1, b=B)
    index.index((ids, words), create_empty_token=False, show_progress=False)
    return Corpus(passages, documents, words, index, time.monotonic() - started_s)


def _documents(lake: Lake, source: str | None) -> Iterator[tuple[str, str | None, str]]:
    given = "" if source is None else "WHERE source = $source"
    rows = lake.query(
        f"SELECT document_id, title, text FROM documents {given} ORDER BY document_id",
        {} if source is None else {"source": source},
    )
    for batch in rows.to_batches(_AT_ONCE):
        signals.check()  # a large corpus takes a minute, and Ctrl-C does not interrupt an event loop
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _nothing(lake: Lake, source: str | None) -> FactoryError:
    known = lake.query("SELECT DISTINCT source FROM documents ORDER BY source").column(0).to_pylist()
    if source is None or not known:
        return FactoryError(
            "the lake has no documents to check claims against: import some with `factory documents FILE...`"
        )
    return FactoryError(f"the lake has no documents of source {source!r}: {nearest(source, known, 'it has')}")
