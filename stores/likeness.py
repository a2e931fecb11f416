"""How similar two texts are, word by word; in SQL `likeness(chosen, rejected)`, a struct of the same three figures."""

import dataclasses
import re
from dataclasses import dataclass

import duckdb
from rapidfuzz.distance import Levenshtein

WORDS = re.compile(r"[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]|[^\s\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]+")
_STRUCT = "STRUCT(similarity DOUBLE, length_ratio DOUBLE, shared_prefix_words BIGINT)"


@dataclass(frozen=True, slots=True)
class Likeness:
    """How similar two texts are."""

    similarity: float  # 0..1: 1 - Levenshtein distance / words of the longer text
    length_ratio: float | None  # words of the first / words of the second
    shared_prefix_words: int


def words(text: str) -> list[str]:
    """Words, separated by white space; in scripts without it (Chinese, Japanese), each character is a word."""
    return WORDS.findall(text)


def likeness(first: str, second: str) -> Likeness:
    a, b = words(first), words(second)
    shared = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return Likeness(Levenshtein.normalized_similarity(a, b), len(a) / len(b) if b else None, shared)


def offer_likeness(connection: duckdb.DuckDBPyConnection) -> None:
    """Adds the SQL function `likeness` to a connection. It costs 0.1 s (numpy), so only for queries that call it."""
    connection.create_function(
        "likeness",
        lambda chosen, rejected: dataclasses.asdict(likeness(chosen, rejected)),
        ["VARCHAR", "VARCHAR"],
        _STRUCT,
    )
