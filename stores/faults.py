"""What goes wrong with a lake's files, each as one sentence: no catalog, a damaged one, a full disk, damaged data."""

import errno
import re
import shlex
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb

from schemas.errors import FactoryError

FULL_BYTES = 1_000_000
"""Less free space than this is a full disk: SQLite then often says 'disk I/O error'."""
LEAST_CATALOG_BYTES = 65_536
"""DuckLake's tables alone take more."""
MAKING_ADVICE = "check that there is free space and that you may write there, or choose another place with --lake"

_FULL_WORDS = ("no space left", "disk is full", "file too large", "quota exceeded")
_FAILING_WORDS = ("disk i/o error", "unable to open database file")
_CATALOG_WORDS = ("malformed", "not a database", "sqlite")
_FITTING_WORDS = (
    "from ducklake:",
    "sqlite_all_varchar",
    "invalid input error: failed to cast value",
    "binder error: source value",
    "registered default",
)
"""words of an error in fitting files to the catalog's tables, whatever its kind: no query that a user may ask has them"""
_OF_A_KIND = re.compile(r"[a-z ]+ error:")
"""how DuckDB begins an error that has a kind, such as 'conversion error:'"""
_SERVER_WORDS = ("server", "connection", "postgres")
PASSING_CONFLICTS = ("database is locked", "conflict", "could not serialize", "deadlock", "ducklake_snapshot_pkey")
"""Words of the errors that pass when another process has finished."""


def check_folder(folder: Path, where: str, *, create: bool) -> bool:
    """Whether the folder holds a catalog; a missing one is never replaced where rows or answers lie beside it.

    Raises:
        FactoryError: no folder, no catalog (unless `create`), or remains of a lake that has lost its catalog.
    """
    catalog = folder / "catalog.sqlite"
    for path in (folder, catalog):
        if path.is_symlink() and not path.exists():
            raise FactoryError(
                f"lake {where} cannot be opened: {path} is a symbolic link to {path.readlink()}, which is not there: "
                "restore or mount that, or name another lake with --lake"
            )
    if folder.exists() and not folder.is_dir():
        raise FactoryError(f"lake {where} is a file, not a folder: name another with --lake")
    if _has_tables(catalog):
        return True
    if remains := _remains(folder):
        state = "is empty" if catalog.exists() else "is missing"
        raise FactoryError(
            f"lake {where} has lost its catalog: catalog.sqlite {state} beside {' and '.join(remains)}; restore it from a "
            "backup, or choose another place with --lake (nothing was made in its place)"
        )
    if not create:
        raise FactoryError(f"there is no lake in {where}: `factory run` makes one, or name another with --lake")
    return False


def _has_tables(catalog: Path) -> bool:
    """Looks inside only if the file is suspiciously small.

    DuckDB has its own SQLite: if this process has the lake open elsewhere, closing the file here would drop its locks.
    """
    if not catalog.exists() or not catalog.stat().st_size:
        return False
    log = catalog.with_name("catalog.sqlite-wal")
    if catalog.stat().st_size > LEAST_CATALOG_BYTES or (log.exists() and log.stat().st_size):
        return True
    try:
        with closing(sqlite3.connect(f"{catalog.absolute().as_uri()}?mode=ro", uri=True)) as opened:
            return bool(opened.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    except sqlite3.Error:
        return True  # whatever ails it, opening it tells


def _remains(folder: Path) -> list[str]:
    """What a lake leaves behind that somebody may want back. Making one that failed leaves a file of its version."""
    found = []
    if any(file.parent.name != "schema_version" for file in (folder / "data").glob("**/*.parquet")):
        found.append("data/")
    if _has_replies(folder / "journal.sqlite"):
        found.append("journal.sqlite")
    if any((folder / "training_sets").glob("*/*")):
        found.append("training_sets/")
    return found


def _has_replies(journal: Path) -> bool:
    """`factory batch write` makes the journal before the lake: one without replies is no remains."""
    if not journal.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as opened:
            there = opened.execute("SELECT count(*) FROM sqlite_master WHERE name = 'replies'").fetchone()[0]
            return bool(there and opened.execute("SELECT count(*) FROM replies").fetchone()[0])
    except sqlite3.Error:
        return True


def opening_error(error: Exception, where: str, folder: Path | None, *, made: bool) -> FactoryError:
    """Why a lake cannot be opened, with the advice for that cause.

    Args:
        made: there was no catalog before.
    """
    words, text = first_line(error), str(error).lower()
    if is_full(text, folder):
        return disk_error(where)
    if "parquet" in text and (told := reading_error(error, where, folder)) is not None:
        return told
    if folder is not None and made:
        return FactoryError(f"lake {where} cannot be opened: {words}: {MAKING_ADVICE}")
    if folder is not None and "not a database" in text:
        return FactoryError(
            f"lake {where} cannot be opened: its catalog.sqlite is no database ({words}): restore it from a backup, or "
            "name another lake with --lake"
        )
    if folder is not None and not _is_access(text):
        return FactoryError(
            f"lake {where} cannot be opened: its catalog.sqlite may be damaged ({words}): restore it from a backup; its "
            "data files are as they were"
        )
    return FactoryError(f"lake {where} cannot be opened: {words}")


def _is_access(text: str) -> bool:
    """Permissions and locks are no damage."""
    return any(words in text for words in ("readonly", "read-only", "permission", "locked", "unable to open"))


def is_full(text: str, folder: Path | None) -> bool:
    """Whether these words of an error mean a full disk."""
    if any(words in text for words in _FULL_WORDS):
        return True
    return folder is not None and any(words in text for words in _FAILING_WORDS) and has_no_room(folder)


def has_no_room(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < FULL_BYTES
    except OSError as error:
        return error.errno == errno.ENOSPC


def disk_error(where: str, state: str = "full") -> FactoryError:
    return FactoryError(
        f"the disk that holds lake {where} is {state}: free some space; nothing already written is lost, and "
        "`factory resume` continues a run"
    )


def reading_error(error: Exception, where: str, folder: Path | None) -> FactoryError | None:
    """Why rows cannot be read, if a file is the cause; None: the query is.

    DuckDB reports a damaged Parquet file as whatever its decoder stumbles over: errors without a kind of their own,
    input errors that name the file, and input/output errors. Rows that are streamed fail with Arrow's errors instead, and
    bytes in a catalog that are not text with Python's.
    """
    text = str(error).lower()
    if any(words in text for words in PASSING_CONFLICTS):
        return None
    if is_full(text, folder):
        return disk_error(where)
    of_server = folder is None and any(words in text for words in _SERVER_WORDS)
    fitting = not of_server and any(words in text for words in _FITTING_WORDS)
    if not fitting and isinstance(error, (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)):
        return None
    if not (fitting or "parquet" in text or isinstance(error, (duckdb.InternalError, duckdb.FatalException))):
        kinds = (duckdb.Error, duckdb.IOException, duckdb.HTTPException, duckdb.SerializationException)
        without_kind = type(error) in kinds if isinstance(error, duckdb.Error) else not _OF_A_KIND.match(text)
        if not without_kind or of_server:
            return None
    what = "catalog" if any(words in text for words in _CATALOG_WORDS) else "data"
    return FactoryError(
        f"the {what} of lake {where} may be damaged or missing ({first_line(error)}): {verify(where)} names each file; "
        "restore those from a backup"
    )


def verify(where: str) -> str:
    """The command that looks for damage, for messages."""
    return f"`factory verify --lake {shlex.quote(where)}`"


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(":. ")
