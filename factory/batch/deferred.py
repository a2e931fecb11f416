"""Deferred requests: written to a batch and not answered yet, in their own table in the journal's file.

A batch service returns only a request's hash and its reply; the run and role that it belongs to are kept here.
"""

from dataclasses import astuple, dataclass
from pathlib import Path

from factory.inference.journal import JournalTable


@dataclass(frozen=True, slots=True)
class Deferred:
    """The origin of a deferred request."""

    run_id: str  # the run that pays
    role: str  # the model's role there
    choices: int  # requested
    endpoint: str  # base URL without credentials, as in `calls`


class DeferredRequests:
    """Requests by hash, each at most once per batch. For errors see `JournalTable`."""

    def __init__(self, journal: Path) -> None:
        self._table = JournalTable(
            journal,
            "awaited (request_hash TEXT PRIMARY KEY, run_id TEXT, role TEXT, choices INTEGER, endpoint TEXT, "
            "batch INTEGER)",
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
        self._table.execute("INSERT OR REPLACE INTO awaited VALUES (?, ?, ?, ?, ?, ?)", *row)
        return bool(earlier)

    def find(self, request_hash: str) -> Deferred | None:
        """The deferred request with this hash; None: there is none."""
        found = self._table.execute(
            "SELECT run_id, role, choices, endpoint FROM awaited WHERE request_hash = ?", request_hash
        )
        return Deferred(*found[0]) if found else None

    def remove(self, request_hash: str) -> None:
        """Removes an answered request."""
        self._table.execute("DELETE FROM awaited WHERE request_hash = ?", request_hash)

    def close(self) -> None:
        self._table.close()
