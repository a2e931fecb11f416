"""The journal: stores every answer as it arrives, by the hash of its request.

It is a file next to the lake. A run that stops between an answer and its rows finds the answer here and does not
pay for it again; it also serves as the cache for a second run.
"""

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import platformdirs

from factory.inference.logprobs import TokenLogprob
from schemas.errors import FactoryError
from schemas.ids import content_id
from stores.attach import Place

BUSY_S = 60.0
"""How long a write waits for other workers on this machine; each of their writes takes microseconds."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One text of a reply."""

    text: str
    finish_reason: str | None
    tokens: int | None
    logprobs: list[TokenLogprob] | None = None
    """None: not requested, or not returned"""


@dataclass(frozen=True, slots=True)
class Spent:
    """What was paid."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    untold: int = 0
    """requests whose tokens the endpoint did not tell"""


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to one request."""

    choices: list[Choice]
    prompt_tokens: int | None
    completion_tokens: int | None
    latency_s: float | None
    retries: int
    endpoint: str

    def as_json(self) -> str:
        """The journal's format."""
        # By hand: `asdict` takes five times as long, and this runs for every answer.
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "choices"}
        plain["choices"] = [_plain(choice) for choice in self.choices]
        return json.dumps(plain, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads the output of `as_json`, also from versions without log-probabilities."""
        plain = json.loads(text)
        for choice in plain["choices"]:
            if "logprobs" in choice:
                choice["logprobs"] = [TokenLogprob(**token) for token in choice["logprobs"]]
        plain["choices"] = [Choice(**choice) for choice in plain["choices"]]
        return cls(**plain)


def _plain(choice: Choice) -> dict[str, Any]:
    plain = {"text": choice.text, "finish_reason": choice.finish_reason, "tokens": choice.tokens}
    if choice.logprobs is None:
        return plain
    return plain | {"logprobs": [token.as_plain() for token in choice.logprobs]}


def journal_file(at: Place) -> Path:
    """Next to the lake; for a lake on PostgreSQL, in the user's data directory."""
    if at.folder is not None:
        return at.folder / "journal.sqlite"
    name = content_id("journal", at.catalog, at.metadata_schema)
    return platformdirs.user_data_path("preference-factory") / "journals" / f"{name}.sqlite"


class JournalTable:
    """A connection to one table of the journal's file; SQLite rolls back torn writes."""

    def __init__(self, file: Path, columns: str) -> None:
        """
        Args:
            columns: the table's definition, as after CREATE TABLE; a missing table is created.
        Raises:
            FactoryError: the file cannot be opened.
        """
        self.file = file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
            # With a write-ahead log, a commit survives a crash of the process at once, and one of the machine
            # after the next checkpoint, for tens of microseconds per answer.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(f"CREATE TABLE IF NOT EXISTS {columns} WITHOUT ROWID")
            self._add_missing(columns)
        except (sqlite3.Error, OSError) as error:
            raise FactoryError(
                f"the journal {file} cannot be opened: {error}; free disk space or fix its permissions"
            ) from error

    def _add_missing(self, columns: str) -> None:
        """Adds the columns that the file of an earlier version lacks."""
        table, _, declared = columns.rstrip(")").partition(" (")
        there = {name for _, name, *_ in self._db.execute(f"PRAGMA table_info({table})")}
        for column in declared.split(", "):
            if column.split()[0] not in there:
                self._db.execute(f"ALTER TABLE {table} ADD COLUMN {column}")

    def execute(self, statement: str, *values: Any) -> list[Any]:
        """Runs one statement and returns its rows.

        Raises:
            FactoryError: the file cannot be read or written.
        """
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            reading = statement.startswith("SELECT")
            raise self._trouble("read" if reading else "written", error) from error

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Runs a statement for every row, in one transaction.

        Raises:
            FactoryError: the file cannot be written; no row was written.
        """
        try:
            self._db.execute("BEGIN")
            self._db.executemany(statement, rows)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise self._trouble("written", error) from error

    def _trouble(self, what: str, error: sqlite3.Error) -> FactoryError:
        return FactoryError(
            f"the journal {self.file} cannot be {what}: {error}; free disk space, then run `factory resume`"
        )

    def close(self) -> None:
        self._db.close()


INSERT_REPLY = (
    "INSERT OR IGNORE INTO replies (request_hash, run_id, role, prompt_tokens, completion_tokens, reply) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)


class Journal:
    """Replies by the hash of their request."""

    def __init__(self, file: Path) -> None:
        """
        Raises:
            FactoryError: see `JournalTable`.
        """
        self.file = file
        self._table = JournalTable(
            file,
            "replies (request_hash TEXT PRIMARY KEY, run_id TEXT, role TEXT, prompt_tokens INTEGER, "
            "completion_tokens INTEGER, reply TEXT)",
        )
        self._arrived: list[tuple[Any, ...]] = []
        self._written: asyncio.Future[None] | None = None

    def find(self, request_hash: str) -> Reply | None:
        """The reply to a request; None if it was never answered.

        Raises:
            FactoryError: see `JournalTable.execute`.
        """
        rows = self._table.execute("SELECT reply FROM replies WHERE request_hash = ?", request_hash)
        return Reply.from_json(rows[0][0]) if rows else None

    def write(self, request_hash: str, reply: Reply, run_id: str, role: str) -> None:
        """Writes a reply, with the run that paid for it and the model's role there.

        Raises:
            FactoryError: see `JournalTable.execute_many`.
        """
        self._write([_row(request_hash, reply, run_id, role)])

    async def record(self, request_hash: str, reply: Reply, run_id: str, role: str) -> None:
        """Writes a reply and returns once it is stored; replies that arrive together share a commit.

        Raises:
            FactoryError: see `JournalTable.execute_many`.
        """
        self._arrived.append(_row(request_hash, reply, run_id, role))
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
        self._table.execute_many(INSERT_REPLY, rows)

    def spent(self, run_id: str) -> dict[str, Spent]:
        """What a run has paid so far, by role.

        Raises:
            FactoryError: see `JournalTable.execute`.
        """
        rows = self._table.execute(
            "SELECT role, count(*), total(prompt_tokens), total(completion_tokens), "
            "count(*) - count(prompt_tokens + completion_tokens) FROM replies WHERE run_id = ? GROUP BY role",
            run_id,
        )
        return {
            role: Spent(requests, int(prompt), int(completion), untold)
            for role, requests, prompt, completion, untold in rows
        }

    def close(self) -> None:
        self._table.close()


def _row(request_hash: str, reply: Reply, run_id: str, role: str) -> tuple[Any, ...]:
    return request_hash, run_id, role, reply.prompt_tokens, reply.completion_tokens, reply.as_json()
