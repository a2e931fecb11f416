"""The journal: every answer is written down when it arrives, by the hash of its request.

It lies beside the lake and is folded into it with the rows made from it. A run that is stopped between an
answer and its rows finds the answer here and does not pay for it again; it is also the cache of a second run.
"""

import json
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from schemas.errors import FactoryError


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a reply's texts."""

    text: str
    finish_reason: str | None
    tokens: int | None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one request."""

    choices: list[Choice]
    prompt_tokens: int | None
    completion_tokens: int | None
    latency_s: float | None
    retries: int
    endpoint: str

    def as_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        plain = json.loads(text)
        plain["choices"] = [Choice(**choice) for choice in plain["choices"]]
        return cls(**plain)


class Journal:
    """Replies by request hash, in one SQLite file; a torn write is undone by SQLite itself."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self.file = file
        try:
            self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
            # With a write-ahead log, a commit survives the death of the process at once, and that of the
            # machine from the next checkpoint on, for tens of microseconds an answer.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS replies (request_hash TEXT PRIMARY KEY, reply TEXT) WITHOUT ROWID"
            )
        except sqlite3.Error as error:
            raise FactoryError(
                f"the journal {file} cannot be opened: {error}; free the disk or mend its permissions"
            ) from error

    def find(self, request_hash: str) -> Reply | None:
        row = self._db.execute("SELECT reply FROM replies WHERE request_hash = ?", [request_hash]).fetchone()
        return Reply.from_json(row[0]) if row else None

    def write(self, request_hash: str, reply: Reply) -> None:
        try:
            self._db.execute("INSERT OR IGNORE INTO replies VALUES (?, ?)", [request_hash, reply.as_json()])
        except sqlite3.Error as error:
            raise FactoryError(
                f"the journal {self.file} cannot be written: {error}; free the disk and go on with `factory resume`"
            ) from error

    def close(self) -> None:
        self._db.close()
