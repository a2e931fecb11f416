"""Submissions: which file of requests is which batch at a service, in a table of the journal's file.

A submission is written down before its batch is made, and its id is in the batch's metadata: after a kill at any moment
the batch can be found at the service, and is not made, and paid for, twice.
"""

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Self

from factory.batch.deferred import DeferredRequests
from factory.inference.journal import JournalTable


@dataclass(frozen=True, slots=True)
class Submission:
    """A file of requests that is, or is about to be, a batch."""

    submission_id: str
    """SHA-256 of the file, and how many times it has been submitted: a batch that failed may be submitted again"""
    file: str
    """its name, for messages"""
    run_id: str
    role: str
    """the run and the role of its model: where the service and its key are"""
    endpoint: str
    """base URL without credentials"""
    requests: int
    batch_id: str | None = None
    """None: it is not known yet whether there is one"""
    ended: int = 0
    """1: its answers have been read"""

    @property
    def label(self) -> str:
        """Its name in messages."""
        return f"{self.file} ({self.batch_id})" if self.batch_id else self.file


class Submissions:
    """The submissions of a lake, and the marks that its deferred requests bear. For errors see `JournalTable`."""

    def __init__(self, journal: Path) -> None:
        self.deferred = DeferredRequests(journal)
        self._table = JournalTable(
            journal,
            "submissions (submission_id TEXT PRIMARY KEY, file TEXT, run_id TEXT, role TEXT, endpoint TEXT, "
            "requests INTEGER, batch_id TEXT, ended INTEGER)",
        )

    def of_file(self, sha256: str) -> list[Submission]:
        """Every submission of a file with this content."""
        return self._where("submission_id LIKE ?", f"{sha256}-%")

    def pending(self) -> list[Submission]:
        """Those whose answers have not been read."""
        return self._where("NOT ended")

    def _where(self, condition: str, *values: str) -> list[Submission]:
        rows = self._table.execute(f"SELECT * FROM submissions WHERE {condition} ORDER BY file, submission_id", *values)
        return [Submission(*row) for row in rows]

    def begin(self, submission: Submission, request_hashes: list[str]) -> None:
        """Writes down what is about to be sent; from now on its requests are in no other batch."""
        self._table.execute("INSERT INTO submissions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *astuple(submission))
        self.deferred.mark(request_hashes, submission.submission_id)

    def is_batch(self, submission_id: str, batch_id: str) -> None:
        """Writes down the batch that was made."""
        self._table.execute("UPDATE submissions SET batch_id = ? WHERE submission_id = ?", batch_id, submission_id)

    def forget(self, submission_id: str) -> None:
        """No batch was made: its requests may be written again."""
        self.deferred.unmark(submission_id)
        self._table.execute("DELETE FROM submissions WHERE submission_id = ?", submission_id)

    def end(self, submission_id: str) -> int:
        """All that came has been read; what was not answered may be written again. Returns how many those are."""
        left = self.deferred.unmark(submission_id)
        self._table.execute("UPDATE submissions SET ended = 1 WHERE submission_id = ?", submission_id)
        return left

    def close(self) -> None:
        self.deferred.close()
        self._table.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
