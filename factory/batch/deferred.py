"""Requests that were written into a batch and are not answered yet: a table of its own in the journal's file.

A batch service gives back a request's hash and its reply; whose request it was, and who pays, stands here.
"""

import sqlite3
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from schemas.errors import FactoryError


@dataclass(frozen=True, slots=True)
class Awaited:
    """What is known of a request that others answer."""

    run_id: str  # the run that pays
    role: str  # the model's role there
    choices: int  # asked for
    endpoint: str  # base URL without credentials, as in `calls`


class AwaitedRequests:
    """Requests by their hash; each is in a batch at most once."""

    def __init__(self, journal: Path) -> None:
        self.file = journal
        journal.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(journal, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error as error:
            raise FactoryError(
                f"the journal {journal} cannot be opened: {error}; free the disk or mend its permissions"
            ) from error
        self._execute(
            "CREATE TABLE IF NOT EXISTS awaited (request_hash TEXT PRIMARY KEY, run_id TEXT, role TEXT, "
            "choices INTEGER, endpoint TEXT, batch INTEGER) WITHOUT ROWID"
        )
        ((self._batch,),) = self._execute("SELECT coalesce(max(batch), 0) + 1 FROM awaited")

    def add(self, request_hash: str, request: Awaited) -> bool | None:
        """Takes a request into this batch.

        Returns:
            Whether an earlier batch has asked it too and is not answered; None: it is in this one already.
        """
        earlier = self._execute("SELECT batch FROM awaited WHERE request_hash = ?", request_hash)
        if earlier == [(self._batch,)]:
            return None
        row = (request_hash, *astuple(request), self._batch)
        self._execute("INSERT OR REPLACE INTO awaited VALUES (?, ?, ?, ?, ?, ?)", *row)
        return bool(earlier)

    def find(self, request_hash: str) -> Awaited | None:
        found = self._execute(
            "SELECT run_id, role, choices, endpoint FROM awaited WHERE request_hash = ?", request_hash
        )
        return Awaited(*found[0]) if found else None

    def remove(self, request_hash: str) -> None:
        self._execute("DELETE FROM awaited WHERE request_hash = ?", request_hash)

    def close(self) -> None:
        self._db.close()

    def _execute(self, statement: str, *values: Any) -> list[Any]:
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise FactoryError(
                f"the journal {self.file} cannot be written: {error}; free the disk and do the same again"
            ) from error
