"""A lake that holds a training set's rows and nothing else, for a trainer to read: pinned, with the same fingerprint.

So a training is repeated by the trainer as it is, from a lake or from a published dataset, and writes no second row of
`training_runs` beside the first.
"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from factory.reruns.lock_file import LockedSet
from schemas.ids import canonical_json
from schemas.tables import TrainingSet
from stores.lake import Lake
from stores.training_sets import pinned_rows

_TABLE, _POSITION = "rows_alone", "position_of_the_row"
_COLUMNS = frozenset(TrainingSet.__dataclass_fields__)
_SQL = f"SELECT * EXCLUDE ({_POSITION}) FROM {_TABLE} ORDER BY {_POSITION}"


def make_lake_of_rows(folder: Path, row: TrainingSet, rows: pa.Table) -> None:
    """Makes the lake in `folder`.

    Args:
        row: the set's row, of which all but the query is kept.
        rows: all its rows in order, with the column `split`.
    Raises:
        FactoryError: what is read back is not what was written.
    """
    numbered = rows.append_column(_POSITION, pa.array(range(rows.num_rows), pa.int64()))
    with Lake.open(folder, create=True) as lake:
        lake.connection.register("given", numbered)
        lake.in_transaction(lambda: lake.connection.execute(f"CREATE TABLE lake.{_TABLE} AS FROM given"))
        lake.connection.unregister("given")
        alone = replace(
            row, snapshot=lake.latest_snapshot(), sql=_SQL, views="", parameters=canonical_json({}), audit=None
        )
        lake.append([alone], message=f"training set {row.name}@{row.version}")
        pinned_rows(lake, alone)


def row_of(locked: LockedSet, parameters: str = "{}") -> TrainingSet:
    """A set's row, made of what a lock file says of it.

    Args:
        parameters: JSON; by default none, for rows that are at hand.
    """
    known = {name: getattr(locked, name) for name in LockedSet.__struct_fields__ if name in _COLUMNS}
    return TrainingSet(**{**known, "parameters": parameters}, audit=None, created_at=datetime.now(UTC))
