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


def may_write(at: Place) -> bool:
    """Whether the lake's catalog can be opened where it is."""
    if at.folder is None:
        return True
    files = [at.folder / f"catalog.sqlite{ending}" for ending in ("", "-wal", "-shm")]
    return all(os.access(path, os.W_OK) for path in (at.folder, *(file for file in files if file.exists())))


def readable(at: Place, *, create: bool) -> tuple[Place, TemporaryDirectory[str] | None]:
    """The lake as it is; or, where one may not write, with a copy of its catalog in a folder that closing the lake removes.

    Raises:
        FactoryError: with `create`, one may not write there; or the catalog cannot be copied.
        OSError: it cannot even be read.
    """
    if may_write(at) or at.folder is None:
        return at, None
    if create:
        raise not_writable(at.where)
    kept = TemporaryDirectory(prefix="factory-catalog-")
    try:
        copy = Path(kept.name) / "catalog.sqlite"
        copy_database(at.folder / "catalog.sqlite", copy)
    except BaseException as error:
        kept.cleanup()
        if isinstance(error, sqlite3.Error):
            raise FactoryError(
                f"lake {at.where} can only be read, and its catalog cannot be copied: {error}"
            ) from error
        raise
    return replace(at, catalog=f"sqlite:{copy}"), kept


def not_writable(where: str) -> FactoryError:
    return FactoryError(f"lake {where} can only be read, as you may not write there: copy the folder, and use the copy")


def copy_database(catalog: Path, copy: Path) -> None:
    """Copies an SQLite database with a write-ahead log, even where one may not write beside it.

    Raises:
        sqlite3.Error, OSError: it cannot be read.
    """
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
