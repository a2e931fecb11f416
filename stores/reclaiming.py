"""What a lake's folder no longer needs: files of expired snapshots, files and folders that a killed process left, models
that no row knows. What a snapshot needs is never among it, so no pinned set loses a row.
"""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow.fs

from schemas.errors import FactoryError
from stores.checksums import data_files, keep_checksums, metadata_of
from stores.confining import refuse_links
from stores.data_path import file_system
from stores.lake import Lake
from stores.locks import run_lock
from stores.maintenance import clean_up
from stores.sql import sql

EXPIRED, ORPHANED, LEFT, MODEL = (
    "of expired snapshots",
    "that no snapshot names",
    "left by a process that was killed",
    "that no training of this lake names",
)
_RECORD = "training.json"
"""what a trainer leaves in the folder of a complete model"""


@dataclass(frozen=True, slots=True)
class Scrap:
    """A file or folder that can go."""

    path: str
    """below the data path (files of rows), or of the lake's folder"""
    why: str
    size_bytes: int

    @property
    def of(self) -> str:
        """The table, or the folder that it lies in; empty: the lake's own."""
        return Path(self.path).parent.name


def find_scrap(lake: Lake, older_than_s: float) -> list[Scrap]:
    """What can go, ordered by reason and path; changes nothing.

    Args:
        older_than_s: files that were written later stay: a process may be about to commit them.
    Raises:
        FactoryError: the files cannot be listed, or a link lies among them.
    """
    refuse_links(lake.place)
    before = time.time() - older_than_s
    # The files first: one that is committed meanwhile is then known to the catalog.
    listed = _listed(lake)
    needed = {file.path for file in data_files(lake)}
    text = sql("scheduled_files").replace("metadata.", f"{metadata_of(lake.place)}.")
    scheduled = set(lake.query(text).column(0).to_pylist()) - needed
    found = [Scrap(path, EXPIRED, size) for path, (size, _) in listed.items() if path in scheduled]
    # A data path that a server's catalog names may be another catalog's, too: what this one does not know is not its own.
    found += [
        Scrap(path, ORPHANED, size)
        for path, (size, written_s) in listed.items()
        if path not in scheduled and path not in needed and written_s < before and lake.place.folder is not None
    ]
    if lake.place.folder is not None:
        found += _folders(lake, lake.place.folder, before)
    return sorted(found, key=lambda scrap: (scrap.why, scrap.path))


def reclaim(lake: Lake, older_than_s: float) -> list[Scrap]:
    """Removes what `find_scrap` finds, while no run or loop uses the lake; returns it.

    Raises:
        FactoryError: one does, or the lake may not be written.
    """
    lake.check_writable()
    with ExitStack() as locks:
        for of in ("run", "loop"):
            locks.enter_context(run_lock(lake.place, of))
        found = find_scrap(lake, older_than_s)
        if any(scrap.why == EXPIRED for scrap in found):
            clean_up(lake)
        system, data = file_system(lake.place.data_path)
        for scrap in found:
            if scrap.why == ORPHANED:
                system.delete_file(data + scrap.path)
            elif scrap.why != EXPIRED and lake.place.folder is not None:
                _remove(lake.place.folder / scrap.path)
        keep_checksums(lake)
    return found


def _listed(lake: Lake) -> dict[str, tuple[int, float]]:
    """Parquet files below the data path: size in bytes, and when they were written (seconds since 1970)."""
    system, data = file_system(lake.place.data_path)
    try:
        entries = system.get_file_info(pyarrow.fs.FileSelector(data.rstrip("/"), recursive=True, allow_not_found=True))
    except OSError as error:
        raise FactoryError(
            f"the files of lake {lake.place.where} cannot be listed: {' '.join(str(error).split())}"
        ) from error
    return {
        entry.path[len(data) :]: (entry.size, entry.mtime_ns / 1e9)
        for entry in entries
        if entry.type == pyarrow.fs.FileType.File and entry.path.endswith(".parquet")
    }


def _folders(lake: Lake, folder: Path, before: float) -> Iterator[Scrap]:
    own = [
        place for place in (folder / "training_sets", folder / "models") if place.is_dir() and not place.is_symlink()
    ]
    for place in (folder, *own):
        for left in sorted(place.glob(".*.part")):
            whole = left.with_name(left.name.removeprefix(".").removesuffix(".part"))
            # A training that was stopped goes on from what it left, unless its model is complete.
            goes_on = place.name == "models" and not (whole / _RECORD).is_file()
            if not goes_on and not left.is_symlink() and left.stat().st_mtime < before:
                yield Scrap(str(left.relative_to(folder)), LEFT, _size(left))
    known = set(lake.query("SELECT training_run_id FROM training_runs").column(0).to_pylist())
    for model in sorted((folder / "models").glob("*/")) if folder / "models" in own else ():
        made_by = _training_of(model)
        if made_by is not None and made_by not in known and not model.is_symlink() and model.stat().st_mtime < before:
            yield Scrap(str(model.relative_to(folder)), MODEL, _size(model))


def _training_of(model: Path) -> str | None:
    """The training that made the model in a folder; None: it does not tell, and so is nobody's to remove."""
    try:
        made_by = json.loads((model / _RECORD).read_text("utf-8"))["run"]["training_run_id"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return made_by if isinstance(made_by, str) else None


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file() and not each.is_symlink()]
    return sum(file.stat().st_size for file in files)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
