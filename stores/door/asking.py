"""Asks a question in a confined process of its own (`stores/door/asked.py`), and reads the rows as they come."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import FactoryError
from stores.door.question import Question, to_json
from stores.without_pandas import keep_pandas_out

if TYPE_CHECKING:
    import pyarrow as pa  # imported in the functions: a tenth of a second in which the other process already starts

_REFUSED = 3
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows that are still coming: they can be read once."""

    schema: "pa.Schema"
    batches: "Iterator[pa.RecordBatch]"

    def table(self) -> "pa.Table":
        import pyarrow as pa

        return pa.Table.from_batches(self.batches, self.schema)


@contextmanager
def asking(question: Question) -> Iterator[Answer]:
    """The answer to a question; its process has ended when the context is left.

    Raises:
        FactoryError: the query is refused, fails, or takes more time or memory than it may; also while the batches are
            read.
    """
    process = _start(question)
    try:
        # While the other process starts.
        import pyarrow as pa

        keep_pandas_out()
        try:
            reader = pa.ipc.open_stream(process.stdout)
        except (pa.ArrowInvalid, OSError) as error:
            raise _reason(process, question) from error
        yield Answer(reader.schema, _batches(reader, process, question))
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def ask(question: Question) -> "pa.Table":
    """All rows of the answer.

    Raises:
        FactoryError: as `asking`.
    """
    with asking(question) as answer:
        return answer.table()


def _start(question: Question) -> "subprocess.Popen[bytes]":
    # Never from the current folder, which may be the stranger's: `-P`, and this project where it is now.
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "stores.door.asked"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it has ended already, and its reason is read below
        process.stdin.write(to_json(question))
        process.stdin.close()
    return process


def _batches(
    reader: "pa.RecordBatchStreamReader", process: "subprocess.Popen[bytes]", question: Question
) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa

    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            break
        except (pa.ArrowInvalid, OSError) as error:
            raise _reason(process, question) from error
        yield batch
    if process.wait():
        raise _reason(process, question)


def _reason(process: "subprocess.Popen[bytes]", question: Question) -> FactoryError:
    """Why the process ended without an answer."""
    assert process.stderr is not None
    said = process.stderr.read().decode("utf-8", "replace").strip()
    code, limits = process.wait(), question.limits
    if code == _REFUSED:
        return FactoryError(said)
    if code in (-signal.SIGALRM, -signal.SIGXCPU):
        return FactoryError(
            f"{question.subject} took longer than {limits.seconds:g} s and was stopped: read fewer rows, or allow more time "
            "(`factory sql` has --timeout)"
        )
    if code in (-signal.SIGABRT, -signal.SIGKILL, -signal.SIGSEGV):
        return FactoryError(
            f"{question.subject} was ended, most likely as it needs more than {limits.memory_mb:,} MB of memory: read fewer rows"
        )
    last = said.splitlines()[-1] if said else f"exit code {code}"
    return FactoryError(f"{question.subject} could not be asked: {last}")
