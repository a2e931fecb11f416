"""How a kind of training set is laid out for a trainer: each row, what it cannot hold, and the files beside the rows."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa

from factory.exporting.gaps import Gap
from factory.exporting.rows import Row


@dataclass(frozen=True, slots=True)
class Written:
    """The files with rows, for those who write configuration beside them."""

    name: str
    """the set's, in characters that every trainer takes in a name: spar_dpo-1"""
    train: str
    """file name"""
    test: str | None
    """None: no row is held out"""


@dataclass(frozen=True, slots=True)
class Layout:
    """One form of a set for one trainer."""

    row: Callable[[Row, str, int], Row] | None
    """the row of the set, its split (train or test) and its place there, from 0 -> the row written; None: it is kept"""
    ending: str
    """jsonl, csv or parquet"""
    use: Callable[[Written], str]
    """the command or code that reads the files, run in their folder"""
    gaps: tuple[Gap, ...] = ()
    beside: Callable[[Written], dict[str, str]] = field(default=lambda written: {})
    """name -> text of the files beside the rows"""
    schema: pa.Schema | None = None
    """of Parquet, where rows are made"""
    prefix: str = ""
    """of the names of files, where a trainer has several forms"""
    of: str = ""
    """which form that is, for people"""

    @property
    def files(self) -> tuple[str, str]:
        return f"{self.prefix}train.{self.ending}", f"{self.prefix}test.{self.ending}"


@dataclass(frozen=True, slots=True)
class Format:
    """A trainer's, or a plain file format."""

    title: str
    source: str
    """where its form is documented"""
    layouts: dict[str, tuple[Layout, ...]]
    """format of a set -> its forms; the first one counts"""


TURN = pa.struct([("role", pa.string()), ("content", pa.string())])
