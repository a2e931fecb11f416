"""Words of texts as columns, and their n-grams as hashes: what overlap and duplicates are found by."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

_CJK = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}"
_WORD = rf"[{_CJK}]|[\w--[{_CJK}]]+"
"""a letter of a script without spaces, or a run of letters and digits"""
_COUNTED = r"[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]|[^\s\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]+"
"""as `stores/likeness.py` counts words"""
_STEP = np.uint64(0x9E3779B97F4A7C15)


def word_count(column: str) -> pl.Expr:
    return pl.col(column).str.count_matches(_COUNTED).cast(pl.Int64)


def normal(column: str) -> pl.Expr:
    """A text as two are compared: Unicode folded (NFKC), lower case, single spaces, trimmed."""
    return pl.col(column).str.normalize("NFKC").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()


@dataclass(frozen=True, slots=True)
class Tokens:
    """The words of several texts, one after the other."""

    text: Any
    """index of each word's text, ascending"""
    hash: Any
    """of each word, without its case"""


def tokens_of(texts: pl.Series) -> Tokens:
    found = (
        pl.DataFrame({"text": pl.arange(len(texts), eager=True, dtype=pl.UInt32), "word": texts})
        .with_columns(pl.col("word").fill_null("").str.to_lowercase().str.extract_all(_WORD))
        .explode("word")
        .drop_nulls()
    )
    return Tokens(found["text"].to_numpy(), found["word"].hash(seed=0).to_numpy())


def grams(tokens: Tokens, length: int) -> Tokens:
    """Every run of so many words within a text, hashed; in order."""
    count = len(tokens.hash) - length + 1
    if count <= 0:
        return Tokens(tokens.text[:0], tokens.hash[:0])
    mixed = np.zeros(count, dtype=np.uint64)
    for offset in range(length):
        mixed = (mixed ^ tokens.hash[offset : offset + count]) * _STEP
        mixed ^= mixed >> np.uint64(29)
    inside = tokens.text[:count] == tokens.text[length - 1 :]
    return Tokens(tokens.text[:count][inside], mixed[inside])
