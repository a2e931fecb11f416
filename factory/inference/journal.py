"""The journal: every answer is written down when it arrives, by the hash of its request.

It lies beside the lake and is folded into it with the rows made from it. A run that is stopped between an
answer and its rows finds the answer here and does not pay for it again; it is also the cache of a second run.
"""

import asyncio
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import platformdirs

from schemas.errors import FactoryError
from schemas.ids import content_id
from stores.attach import Place

BUSY_S = 60.0
"""How long a write waits for those of other workers on this machine, each of which takes microseconds."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a reply's texts."""

    text: str
    finish_reason: str | None
    tokens: int | None


@dataclass(frozen=True, slots=True)
class Spent:
    """What was paid."""

    requests: int
    prompt_tokens: int
    completion_tokens: int


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
        # By hand: `asdict` takes five times as long, and this is done for every answer.
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "choices"}
        plain["choices"] = [
            {"text": c.text, "finish_reason": c.finish_reason, "tokens": c.tokens} for c in self.choices
        ]
        return json.dumps(plain, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        plain = json.loads(text)
        plain["choices"] = [Choice(**choice) for choice in plain["choices"]]
        return cls(**plain)


def journal_file(at: Place) -> Path:
    """Beside the lake; for one behind PostgreSQL, in the user's data directory."""
    if at.folder is not None:
        return at.folder / "journal.sqlite"
    name = content_id("journal", at.catalog, at.metadata_schema)
    return platformdirs.user_data_path("preference-factory") / "journals" / f"{name}.sqlite"


class Journal:
    """Replies by request hash, in one SQLite file; a torn write is undone by SQLite itself."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self.file = file
        self._arrived: list[tuple[Any, ...]] = []
        self._written: asyncio.Future[None] | None = None
        try:
            self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
            # With a write-ahead log, a commit survives the death of the process at once, and that of the
            # machine from the next checkpoint on, for tens of microseconds an answer.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS replies (request_hash TEXT PRIMARY KEY, run_id TEXT, role TEXT, "
                "prompt_tokens INTEGER, completion_tokens INTEGER, reply TEXT) WITHOUT ROWID"
            )
        except sqlite3.Error as error:
            raise FactoryError(
                f"the journal {file} cannot be opened: {error}; free the disk or mend its permissions"
            ) from error

    def find(self, request_hash: str) -> Reply | None:
        row = self._db.execute("SELECT reply FROM replies WHERE request_hash = ?", [request_hash]).fetchone()
        return Reply.from_json(row[0]) if row else None

    def write(self, request_hash: str, reply: Reply, run_id: str, role: str) -> None:
        """Writes a reply down, with the run that paid for it and the model's role there."""
        self._write([(request_hash, run_id, role, reply.prompt_tokens, reply.completion_tokens, reply.as_json())])

    async def record(self, request_hash: str, reply: Reply, run_id: str, role: str) -> None:
        """Writes a reply down and returns when it is; replies that arrive together share a commit."""
        self._arrived.append(
            (request_hash, run_id, role, reply.prompt_tokens, reply.completion_tokens, reply.as_json())
        )
        if self._written is None or self._written.done():
            loop = asyncio.get_running_loop()
            self._written = loop.create_future()
            loop.call_soon(self._write_arrived, self._written)
        await asyncio.shield(self._written)

    def _write_arrived(self, written: asyncio.Future[None]) -> None:
        rows, self._arrived = self._arrived, []
        try:
            self._write(rows)
        except FactoryError as error:
            written.set_exception(error)
        else:
            written.set_result(None)

    def _write(self, rows: list[tuple[Any, ...]]) -> None:
        try:
            self._db.execute("BEGIN")
            self._db.executemany("INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise FactoryError(
                f"the journal {self.file} cannot be written: {error}; free the disk and go on with `factory resume`"
            ) from error

    def spent(self, run_id: str) -> dict[str, Spent]:
        """What a run has paid so far, by role."""
        rows = self._db.execute(
            "SELECT role, count(*), total(prompt_tokens), total(completion_tokens) FROM replies WHERE run_id = ? "
            "GROUP BY role",
            [run_id],
        )
        return {role: Spent(requests, int(prompt), int(completion)) for role, requests, prompt, completion in rows}

    def close(self) -> None:
        self._db.close()
