"""The catalog of a lake in a folder: an SQLite file with a write-ahead log.

SQLite writes beside such a file even to read it. So a lake that one may read but not write, another user's or on a
read-only mount, is read through a private copy of its catalog.
"""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from schemas.errors import FactoryError
from stores.attach import Place

MAKING_ADVICE = "check that there is free space and that you may write there, or choose another place with --lake"


def let_readers_in(catalog: Path, where: str) -> None:
    """Makes an empty SQLite file with a write-ahead log, so that readers never wait for a writing run."""
    # An empty file is what an earlier attempt left on a full disk.
    if catalog.exists() and catalog.stat().st_size:
        return
    try:
        with closing(sqlite3.connect(catalog)) as made:
            made.execute("PRAGMA journal_mode = WAL")
    except sqlite3.Error as error:
        raise FactoryError(f"lake {where} cannot be made: {error}: {MAKING_ADVICE}") from error


def may_write(at: Place) -> bool:
    """Whether the lake's catalog can be opened where it is."""
    if at.folder is None:
        return True
    files = [at.folder / f"catalog.sqlite{ending}" for ending in ("", "-wal", "-shm")]
    return all(os.access(path, os.W_OK) for path in (at.folder, *(file for file in files if file.exists())))


def with_copied_catalog(at: Place) -> tuple[Place, TemporaryDirectory[str]]:
    """The lake with a copy of its catalog in a folder of this user's alone, to be removed when the lake is closed.

    Raises:
        FactoryError: the catalog cannot be copied.
        OSError: it cannot even be read.
    """
    assert at.folder is not None
    kept = TemporaryDirectory(prefix="factory-catalog-")
    try:
        copy = Path(kept.name) / "catalog.sqlite"
        _copy(at.folder / "catalog.sqlite", copy)
    except BaseException as error:
        kept.cleanup()
        if isinstance(error, sqlite3.Error):
            raise FactoryError(
                f"lake {at.where} can only be read, and its catalog cannot be copied: {error}"
            ) from error
        raise
    return replace(at, catalog=f"sqlite:{copy}"), kept


def _copy(catalog: Path, copy: Path) -> None:
    log, index = (catalog.with_name(f"{catalog.name}-{ending}") for ending in ("wal", "shm"))
    if index.exists():
        # Somebody may be writing: SQLite copies one state, reading the log through its index.
        with (
            suppress(sqlite3.OperationalError),  # the index is a leftover that would have to be written anew
            closing(sqlite3.connect(f"{catalog.resolve().as_uri()}?mode=ro", uri=True, timeout=60)) as opened,
            closing(sqlite3.connect(copy)) as made,
        ):
            opened.backup(made)
            return
    # Nobody has it open. A log that was left behind is read from the copy.
    shutil.copyfile(catalog, copy)
    if log.exists():
        shutil.copyfile(log, copy.with_name(f"{copy.name}-wal"))
