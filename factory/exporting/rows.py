"""A training set's rows as plain Python, and their conversations with role and content alone."""

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

Row = dict[str, Any]
Turns = list[dict[str, str]]

SLICE = 10_000
"""rows that are held as Python objects at once"""
ANSWERS = {"preference": ("chosen", "rejected"), "prompt_completion": ("completion",), "prompt": ()}
"""format of a set -> its columns with answers"""


def rows_of(table: pa.Table) -> Iterator[Row]:
    for first in range(0, table.num_rows, SLICE):
        yield from table.slice(first, SLICE).to_pylist()


def turns(conversation: list[Row]) -> Turns:
    return [{"role": turn["role"], "content": turn["content"]} for turn in conversation]


def text(answer: list[Row]) -> str:
    """What the last turn says."""
    return str(answer[-1]["content"])


def columns(kind: str) -> Callable[[Row, str, int], Row]:
    """Makes rows of the prompt's conversation and that of each answer."""
    names = ("prompt", *ANSWERS[kind])
    return lambda row, split, place: {name: turns(row[name]) for name in names}


def with_sides(row: Row, split: str, place: int) -> Row:
    """The prompt as `messages`, and the last turn of each side."""
    return {"messages": turns(row["prompt"]), **{name: turns(row[name])[-1] for name in ANSWERS["preference"]}}


def dialogue(row: Row, split: str, place: int) -> Row:
    """Prompt and completion as one conversation."""
    return {"messages": turns(row["prompt"]) + turns(row["completion"])}


def answers(row: Row) -> list[Turns]:
    """Chosen and rejected, or the completion."""
    return [row[name] for names in ANSWERS.values() for name in names if name in row]
