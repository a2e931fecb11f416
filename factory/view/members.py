"""Which rows of the lake are in which training set: the ids of a set's rows, read again at its snapshot and kept.

A pinned set never changes, so it is read once for each process. Reading a large one takes seconds: it happens in a thread
of its own, and who asks says how long to wait.
"""

import json
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLong
from dataclasses import dataclass
from functools import cache

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import FactoryError, own_words
from schemas.tables import TrainingSet
from stores.lake import Lake
from stores.training_sets import find_training_set
from stores.training_sets.rows import rows_as_pinned

SETS_KEPT = 64
_LINEAGE = ("pair_id", "id", "node_id", "response_id", "judgement_id")
"""columns of a set's rows that say what a row was made of"""


@dataclass(frozen=True, slots=True)
class Member:
    """A row of a training set."""

    set: str
    """name@version"""
    split: str
    """train or held_out"""
    role: str
    """what the row is, from its class: refined, refinement, positive critique, ..."""
    id: str
    """the pair, node, response or judgement that the row is made of"""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of some ids in the sets built from a run."""

    members: tuple[Member, ...]
    sets: tuple[str, ...]
    """all sets built from the run, by name@version"""
    unread: tuple[str, ...]
    """those still being read"""
    unreadable: tuple[str, ...]
    """why some cannot be read, in one sentence each"""


_kept: OrderedDict[tuple[str, str], Future[pa.Table]] = OrderedDict()
_lock = threading.Lock()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "training-sets")


def find_members(lake: Lake, run_id: str, ids: list[str], wait_s: float | None = None) -> Found:
    """The rows of training sets built from a run that are made of any of these ids.

    Args:
        wait_s: the most seconds to wait for all sets that are not read yet; None: until they are.
    """
    sets = [row for row in lake.read(TrainingSet) if _is_of(row, run_id)]
    sets.sort(key=lambda row: (row.name, row.version))
    members: list[Member] = []
    unread, unreadable = [], []
    ends_s = None if wait_s is None else time.monotonic() + wait_s
    for row in sets:
        name = f"{row.name}@{row.version}"
        try:
            rows = _rows(lake, row).result(None if ends_s is None else max(0.0, ends_s - time.monotonic()))
        except TooLong:
            unread.append(name)
        except FactoryError as error:
            unreadable.append(f"{name} cannot be read: {error}")
        except duckdb.Error as error:
            unreadable.append(f"{name} cannot be read: {own_words(error)}")
        else:
            members += _of_ids(name, rows, ids)
    return Found(tuple(members), tuple(f"{r.name}@{r.version}" for r in sets), tuple(unread), tuple(unreadable))


def pair_ids(lake: Lake, reference: str) -> list[str]:
    """The ids of a training set's pairs, in its order.

    Raises:
        FactoryError: no such set, it cannot be read, or its rows have no pair_id.
    """
    row = find_training_set(lake, reference)
    rows = _rows(lake, row).result()
    if "pair_id" not in rows.column_names:
        raise FactoryError(f"training set {row.name}@{row.version} has no pairs: its rows have no pair_id")
    ids: list[str] = rows.column("pair_id").to_pylist()
    return ids


def _is_of(row: TrainingSet, run_id: str) -> bool:
    """Whether a set was built from a run; a user's own query may read any."""
    try:
        given = json.loads(row.parameters)
    except (ValueError, RecursionError):
        return False
    runs = given.get("run_ids") if isinstance(given, dict) else None
    return not isinstance(runs, list) or run_id in runs


def _rows(lake: Lake, row: TrainingSet) -> Future[pa.Table]:
    key = (lake.place.where, row.training_set_id)
    with _lock:
        kept = _kept.get(key)
        if kept is None or (kept.done() and kept.exception() is not None):  # what failed once is tried again
            _kept[key] = _threads().submit(_read, lake.place.where, row)
            while len(_kept) > SETS_KEPT:
                _kept.popitem(last=False)
        return _kept[key]


def _read(where: str, row: TrainingSet) -> pa.Table:
    """Split, class and lineage of the set's rows."""
    with Lake.open(where, read_only=True) as lake:
        rows = rows_as_pinned(lake, row)
    wanted = [name for name in ("split", "class", *_LINEAGE) if name in rows.column_names]
    return rows.select(wanted)


def _of_ids(name: str, rows: pa.Table, ids: list[str]) -> list[Member]:
    found = []
    for column in _LINEAGE:
        if column in rows.column_names:
            wanted = pc.is_in(pc.cast(rows.column(column), pa.string()), pa.array(ids, pa.string()))
            for row in rows.filter(wanted).to_pylist():
                found.append(Member(name, str(row["split"]), str(row.get("class") or "row"), str(row[column])))
    return found
