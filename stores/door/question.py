"""What passes between the process that has a question and the one that asks it of a lake."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Limits:
    """What a query may use before its process is ended."""

    seconds: float = 60
    memory_mb: int = 2_000
    """DuckDB's memory; the process may have twice as much and what it needs to start"""


LONG = Limits(3_600, 8_000)
"""for training sets and pairings, which read far more than a query typed by hand"""


@dataclass(frozen=True, slots=True)
class Question:
    """A query of a lake."""

    where: str
    """the lake, as `Lake.open` takes it"""
    query: str
    parameters: dict[str, Any] = field(default_factory=dict)
    at: int | None = None
    """the snapshot it is asked at; None: the newest"""
    what: str = "the query"
    """what errors call it"""
    limits: Limits = Limits()
    stored: bool = False
    """asked of the tables as stored, with `definitions` or, if there are none, the views stored in the lake"""
    definitions: str | None = None
    """text of the views and macros it was written for"""
    steady: bool = False
    """refused if its rows have no order, or may be others when it is asked again"""
    threads: int | None = None

    @property
    def subject(self) -> str:
        """How an error about it begins."""
        return self.what if self.what == "the query" else f"{self.what}: its query"


def to_json(question: Question) -> bytes:
    return json.dumps(asdict(question)).encode()


def from_json(text: bytes) -> Question:
    fields = json.loads(text)
    return Question(**{**fields, "limits": Limits(**fields["limits"])})
