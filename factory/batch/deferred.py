"""Deferred requests: written into a batch and not answered yet, in a table of their own in the journal's file.

A batch service gives back a request's hash and its reply; whose request it was, and who pays, stands here.
"""

from dataclasses import astuple, dataclass
from pathlib import Path

from factory.inference.journal import JournalTable


@dataclass(frozen=True, slots=True)
class Deferred:
    """What is known of a request that others answer."""

    run_id: str  # the run that pays
    role: str  # the model's role there
    choices: int  # asked for
    endpoint: str  # base URL without credentials, as in `calls`


class DeferredRequests:
    """Requests by their hash; each is in a batch at most once. All errors are those of `JournalTable`."""

    def __init__(self, journal: Path) -> None:
        self._table = JournalTable(
            journal,
            "awaited (request_hash TEXT PRIMARY KEY, run_id TEXT, role TEXT, choices INTEGER, endpoint TEXT, "
            "batch INTEGER)",
        )
        ((self._batch,),) = self._table.execute("SELECT coalesce(max(batch), 0) + 1 FROM awaited")

    def add(self, request_hash: str, request: Deferred) -> bool | None:
        """Takes a request into this batch.

        Returns:
            Whether an earlier batch has asked it too and is not answered; None: it is in this one already.
        """
        earlier = self._table.execute("SELECT batch FROM awaited WHERE request_hash = ?", request_hash)
        if earlier == [(self._batch,)]:
            return None
        row = (request_hash, *astuple(request), self._batch)
        self._table.execute("INSERT OR REPLACE INTO awaited VALUES (?, ?, ?, ?, ?, ?)", *row)
        return bool(earlier)

    def find(self, request_hash: str) -> Deferred | None:
        """A request that is not answered yet; None: nobody waits for it."""
        found = self._table.execute(
            "SELECT run_id, role, choices, endpoint FROM awaited WHERE request_hash = ?", request_hash
        )
        return Deferred(*found[0]) if found else None

    def remove(self, request_hash: str) -> None:
        """Forgets a request, for it is answered."""
        self._table.execute("DELETE FROM awaited WHERE request_hash = ?", request_hash)

    def close(self) -> None:
        self._table.close()
