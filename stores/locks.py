"""One run at a time on a lake: two of them would ask, and pay, for the same answers."""

import fcntl
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import FactoryError
from stores.attach import Place


@contextmanager
def run_lock(at: Place) -> Iterator[None]:
    """Holds the lake for one run; the lock ends with the process, however it ends.

    For a lake on disk it holds among all who reach the folder; for one behind PostgreSQL, on this machine.

    Raises:
        FactoryError: another run has it.
    """
    if at.folder is not None:
        file = at.folder / "run.lock"
    else:
        digest = hashlib.sha256(at.catalog.encode()).hexdigest()[:16]
        file = Path(tempfile.gettempdir()) / f"preference-factory-{digest}.lock"
    with file.open("a") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FactoryError(
                f"another run is at work on lake {at.where}: wait until it ends, or give another place with --lake"
            ) from error
        yield
