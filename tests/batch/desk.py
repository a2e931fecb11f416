"""A lake with a batch to send, and the service that it is sent to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from factory.batch.collecting import collect
from factory.batch.submissions import Submissions
from factory.batch.submitting import submit
from factory.inference.journal import journal_file
from stores.attach import place
from tests.batch.service import BatchService
from tests.batches import specification, write


class Killed(BaseException):
    """Ends a command at once, as `kill -9` does: nothing of ours catches it."""


@dataclass
class Desk:
    """A lake with a batch to send, and the service."""

    service: BatchService
    folder: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def lake(self) -> str:
        return str(self.folder / "lake")

    @property
    def file(self) -> Path:
        return self.folder / "requests.jsonl"

    def submit(self, *files: Path) -> str:
        self.capsys.readouterr()
        submit(self.lake, files or [self.file], "", Console())
        return self.capsys.readouterr().out

    def collect(self, wait: bool = False) -> str:
        self.capsys.readouterr()
        collect(self.lake, "", Console(), wait=wait)
        return self.capsys.readouterr().out

    def write_next(self) -> Any:
        number = len(list(self.folder.glob("next*")))
        return write(Path(self.lake), self.folder / f"next{number}.jsonl", specification(self.service.url))

    def journal(self) -> Submissions:
        return Submissions(journal_file(place(self.lake)))
