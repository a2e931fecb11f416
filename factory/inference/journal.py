"""The journal: stores every answer as it arrives, by the hash of its request.

It is a file next to the lake. A run that stops between an answer and its rows finds the answer here and does not
pay for it again; it also serves as the cache for a second run.
"""

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import platformdirs

from factory.inference.logprobs import TokenLogprob, read_stored
from factory.inference.thinking import joined, split_thinking
from factory.inference.values import MOST_TOKENS, is_blank, read_json, storable, tokens_or_none, word_or_none
from schemas.errors import FactoryError
from schemas.ids import content_id
from stores.attach import Place

MOST_LATENCY_S = 1e9
MOST_NOTED = 2000
"""characters of a reply's note: a reply may have many choices"""
BUSY_S = 60.0
"""How long a write waits for other workers on this machine; each of their writes takes microseconds."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer of a reply."""

    text: str
    """without thinking; empty: there is no answer, and the note says why"""
    finish_reason: str | None
    tokens: int | None
    """thinking included"""
    logprobs: list[TokenLogprob] | None = None
    """of the text; None: not requested, not returned, or not readable"""
    reasoning: str = ""
    """the thinking"""
    note: str | None = None
    """what was odd in the reply and became None"""


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

    @property
    def reasonings(self) -> list[str] | None:
        """Each choice's thinking; None: no choice has any."""
        found = [choice.reasoning for choice in self.choices]
        return found if any(found) else None

    @property
    def note(self) -> str | None:
        """What was odd, each thing once; None: nothing."""
        notes = dict.fromkeys(choice.note for choice in self.choices if choice.note)
        return "; ".join(notes)[:MOST_NOTED] or None

    def as_json(self) -> str:
        """The journal's format."""
        # By hand: `asdict` takes five times as long, and this runs for every answer.
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "choices"}
        plain["choices"] = [_plain(choice) for choice in self.choices]
        return json.dumps(plain, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Reads the output of `as_json`, also from versions that checked less or left the thinking in the text.

        What is odd becomes None, as in a reply.

        Raises:
            ValueError: it is no reply.
        """
        plain = read_json(text)
        if not isinstance(plain, dict) or not isinstance(plain.get("choices"), list) or not plain["choices"]:
            raise ValueError("not a reply")
        notes: list[str] = []
        latency_s, retries, endpoint = plain.get("latency_s"), plain.get("retries"), plain.get("endpoint")
        reply = cls(
            [_choice(choice) for choice in plain["choices"]],
            tokens_or_none(plain.get("prompt_tokens"), "prompt_tokens", notes),
            tokens_or_none(plain.get("completion_tokens"), "completion_tokens", notes),
            float(latency_s) if isinstance(latency_s, int | float) and 0 <= latency_s < MOST_LATENCY_S else None,
            retries if isinstance(retries, int) and 0 <= retries < MOST_TOKENS else 0,
            storable(endpoint) if isinstance(endpoint, str) else "unknown",
        )
        if notes:
            first = reply.choices[0]
            reply.choices[0] = replace(first, note="; ".join([*notes, *filter(None, [first.note])]))
        return reply


def _plain(choice: Choice) -> dict[str, Any]:
    plain: dict[str, Any] = {"text": choice.text, "finish_reason": choice.finish_reason, "tokens": choice.tokens}
    if choice.reasoning:
        plain["reasoning"] = choice.reasoning
    if choice.note is not None:
        plain["note"] = choice.note
    if choice.logprobs is not None:
        plain["logprobs"] = [token.as_plain() for token in choice.logprobs]
    return plain


def _choice(plain: Any) -> Choice:
    """Reads the output of `_plain`.

    Raises:
        ValueError: it is no choice.
    """
    if not isinstance(plain, dict) or not isinstance(plain.get("text"), str):
        raise ValueError("not a choice")
    notes: list[str] = []
    note, reasoning, logprobs = plain.get("note"), plain.get("reasoning"), plain.get("logprobs")
    thinking, text = split_thinking(storable(plain["text"]))
    given = storable(reasoning) if isinstance(reasoning, str) else ""
    if is_blank(text):
        text = ""
        notes += [] if note else ["no text, only thinking" if thinking or given else "no text"]
    finish_reason = word_or_none(plain.get("finish_reason"), "finish_reason", notes)
    tokens = tokens_or_none(plain.get("tokens"), "tokens", notes)
    found = read_stored(logprobs, text, notes)
    notes = [*([storable(note)] if isinstance(note, str) else []), *notes]
    return Choice(text, finish_reason, tokens, found, joined([given, thinking]), "; ".join(notes) or None)


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
        except (sqlite3.Error, OverflowError, UnicodeError) as error:  # the last two: a value that SQLite cannot hold
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise self._trouble("written", error) from error

    def _trouble(self, what: str, error: Exception) -> FactoryError:
        return FactoryError(
            f"the journal {self.file} cannot be {what}: {error}; free disk space, then run `factory resume`"
        )

    def close(self) -> None:
        self._db.close()


INSERT_REPLY = (
    "INSERT OR IGNORE INTO replies (request_hash, run_id, role, prompt_tokens, completion_tokens, reply) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)

_COUNTED = f"CASE WHEN typeof({{0}}) = 'integer' AND {{0}} BETWEEN 0 AND {MOST_TOKENS} THEN {{0}} END"
"""Earlier versions kept counts as endpoints sent them: negative, infinite, as text."""
_PROMPT, _COMPLETION = (_COUNTED.format(name) for name in ("prompt_tokens", "completion_tokens"))
SELECT_SPENT = (
    f"SELECT role, count(*), total({_PROMPT}), total({_COMPLETION}), count(*) - count({_PROMPT} + {_COMPLETION}) "
    "FROM replies WHERE run_id = ? GROUP BY role"
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
        self.unreadable: set[str] = set()
        """hashes of requests whose answers could not be read, and so are asked again"""
        self._arrived: list[tuple[Any, ...]] = []
        self._written: asyncio.Future[None] | None = None

    def find(self, request_hash: str) -> Reply | None:
        """The reply to a request; None if it was never answered, or its row is damaged: then it is noted in `unreadable`.

        Raises:
            FactoryError: see `JournalTable.execute`.
        """
        # As bytes: damaged ones may be no text.
        rows = self._table.execute("SELECT CAST(reply AS BLOB) FROM replies WHERE request_hash = ?", request_hash)
        if not rows:
            return None
        try:
            return Reply.from_json(rows[0][0] or b"")
        except ValueError:
            # Kept under another key, which frees its own for the answer to come and still counts as paid.
            self._table.execute(
                "UPDATE OR REPLACE replies SET request_hash = request_hash || ':unreadable' WHERE request_hash = ?",
                request_hash,
            )
            self.unreadable.add(request_hash)
            return None

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
        except Exception as error:  # whatever it is: those who wait for it would wait for ever
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
        rows = self._table.execute(SELECT_SPENT, run_id)
        return {
            role: Spent(requests, int(prompt), int(completion), untold)
            for role, requests, prompt, completion, untold in rows
        }

    def payer(self, request_hash: str) -> str | None:
        """The run that paid for a reply; None: it is not there.

        Raises:
            FactoryError: see `JournalTable.execute`.
        """
        # As bytes: damaged ones may be no text.
        rows = self._table.execute("SELECT CAST(run_id AS BLOB) FROM replies WHERE request_hash = ?", request_hash)
        return (rows[0][0] or b"").decode("utf-8", "replace") if rows else None

    def close(self) -> None:
        self._table.close()


def _row(request_hash: str, reply: Reply, run_id: str, role: str) -> tuple[Any, ...]:
    return request_hash, run_id, role, reply.prompt_tokens, reply.completion_tokens, reply.as_json()
