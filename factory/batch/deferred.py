"""Deferred requests: written to a batch and not answered yet, in their own table in the journal's file.

A batch service returns only a request's hash and its reply; the run and role that it belongs to are kept here.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from factory.inference.journal import JournalTable, journal_file
from schemas.errors import FactoryError
from stores.attach import place


@dataclass(frozen=True, slots=True)
class Deferred:
    """The origin of a deferred request."""

    run_id: str  # the run that pays
    role: str  # the model's role there
    choices: int  # requested
    endpoint: str  # base URL without credentials, as in `calls`


def journal_of(where: str) -> Path:
    """The journal of a lake for which a batch was written.

    Raises:
        FactoryError: none was.
    """
    journal = journal_file(place(where))
    if not journal.exists():
        raise FactoryError(f"no batch was written for lake {where}: run `factory batch write`, or give another --lake")
    return journal


class DeferredRequests:
    """Requests by hash, each at most once per batch. For errors see `JournalTable`."""

    def __init__(self, journal: Path) -> None:
        self._table = JournalTable(
            journal,
            "awaited (request_hash TEXT PRIMARY KEY, run_id TEXT, role TEXT, choices INTEGER, endpoint TEXT, "
            "batch INTEGER, submission TEXT)",
        )
        ((self._batch,),) = self._table.execute("SELECT coalesce(max(batch), 0) + 1 FROM awaited")

    def add(self, request_hash: str, request: Deferred) -> bool | None:
        """Adds a request to this batch.

        Returns:
            Whether an earlier batch also has it, unanswered; None: it is already in this batch.
        """
        earlier = self._table.execute("SELECT batch FROM awaited WHERE request_hash = ?", request_hash)
        if earlier == [(self._batch,)]:
            return None
        row = (request_hash, *astuple(request), self._batch)
        self._table.execute("INSERT OR REPLACE INTO awaited VALUES (?, ?, ?, ?, ?, ?, NULL)", *row)
        return bool(earlier)

    def find(self, request_hash: str) -> Deferred | None:
        """The deferred request with this hash; None: there is none."""
        found = self._table.execute(
            "SELECT run_id, role, choices, endpoint FROM awaited WHERE request_hash = ?", request_hash
        )
        return Deferred(*found[0]) if found else None

    def is_sent(self, request_hash: str) -> bool:
        """Whether the request is in a batch that was submitted, and that has not been collected."""
        return bool(
            self._table.execute("SELECT 1 FROM awaited WHERE request_hash = ? AND submission IS NOT NULL", request_hash)
        )

    def mark(self, request_hashes: Sequence[str], submission_id: str) -> None:
        """Marks requests as sent by a submission."""
        self._table.execute_many(
            "UPDATE awaited SET submission = ? WHERE request_hash = ?",
            [(submission_id, request_hash) for request_hash in request_hashes],
        )

    def unmark(self, submission_id: str) -> int:
        """Takes a submission's marks from its unanswered requests; returns how many those are."""
        ((left,),) = self._table.execute("SELECT count(*) FROM awaited WHERE submission = ?", submission_id)
        self._table.execute("UPDATE awaited SET submission = NULL WHERE submission = ?", submission_id)
        return int(left)

    def remove(self, request_hash: str) -> None:
        """Removes an answered request."""
        self._table.execute("DELETE FROM awaited WHERE request_hash = ?", request_hash)

    def close(self) -> None:
        self._table.close()
