"""The rows of a set: as a lake gives them, compared with what was built."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from factory.reruns.comparing import first_difference
from factory.reruns.lock_file import LockedSet
from factory.reruns.rows_alone import row_of
from schemas.errors import FactoryError
from schemas.tables import TrainingSet
from stores.lake import Lake
from stores.training_sets import has_fingerprint
from stores.training_sets.rows import rows_as_pinned

_FILES = {"train": "train.parquet", "held_out": "test.parquet"}


def rows_of_set(lake: Lake, row: TrainingSet) -> tuple[pa.Table, bool]:
    """The rows of a pinned set, in order with the column `split`, and whether they are those that it was built of.

    Raises:
        FactoryError: they cannot be read.
    """
    rows = rows_as_pinned(lake, row)
    return rows, has_fingerprint(rows, row.fingerprint)


def rows_of_lock(lake: Lake, locked: LockedSet) -> pa.Table:
    """The rows of a locked set, from a lake that has the set or at least the rows that it was made from.

    A set that the lake does not know is asked with the lock file's query, through `stores/door`: at its snapshot, and where
    that snapshot is another lake's, at the newest.

    Raises:
        FactoryError: the lake gives other rows, or none.
    """
    name = f"{locked.name}@{locked.version}"
    known = lake.read(TrainingSet, "training_set_id = $id", {"id": locked.training_set_id})
    there = lake.query("SELECT 1 FROM lake.snapshots() WHERE snapshot_id = $s", {"s": locked.snapshot}).num_rows
    asked = row_of(locked, _as_json(locked))
    tries = [*known, *([asked] if there else []), replace(asked, snapshot=lake.latest_snapshot())]
    refused: FactoryError | None = None
    for row in tries:
        try:
            rows = rows_as_pinned(lake, row)
        except FactoryError as error:
            refused = refused or error
            continue
        if has_fingerprint(rows, locked.fingerprint):
            return rows
    said = f" ({refused})" if refused else ""
    raise FactoryError(
        f"lake {lake.place.where} does not give the rows of {name} with the fingerprint {locked.fingerprint[:12]}{said}: name "
        "the lake that the lock file is from with --lake, or the published dataset with --data"
    )


def _as_json(locked: LockedSet) -> str:
    try:
        return json.dumps(locked.parameters)
    except (TypeError, ValueError) as error:
        raise FactoryError(f"the lock file's parameters cannot be used ({error}): write it again") from error


def where_rows_differ(lake: Lake, row: TrainingSet, rows: pa.Table) -> str | None:
    """The first row that is not as it was built, by the set's Parquet files beside the lake; None: they tell of none, or are
    not there."""
    folder = (lake.place.folder or Path()) / "training_sets" / f"{row.name}@{row.version}"
    for split, name in _FILES.items():
        file = folder / name
        if not file.is_file():
            continue
        now = rows.filter(pc.equal(rows.column("split"), split))
        try:
            found = first_difference(pyarrow.parquet.read_table(file), now)
        except (pa.ArrowException, OSError):
            continue  # the copy is damaged, too
        if found is not None:
            return f"{split}, {found}"
    return None
