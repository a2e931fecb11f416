"""Rows of training sets for pages: which pairs a set holds, kept for the next page, as a pinned set never changes."""

from collections import OrderedDict
from threading import Lock

import pyarrow as pa

from schemas.errors import FactoryError
from stores.lake import Lake
from stores.training_sets import find_training_set, read_training_set

_KEPT = 8
_known: OrderedDict[tuple[str, str], tuple[str, ...]] = OrderedDict()
_lock = Lock()


def pair_ids(lake: Lake, reference: str) -> tuple[str, ...]:
    """The ids of a training set's pairs, both splits.

    Raises:
        FactoryError: no such set, or its rows have no pair_id.
    """
    found = find_training_set(lake, reference)
    key = (lake.place.where, found.training_set_id)
    with _lock:
        if key in _known:
            _known.move_to_end(key)
            return _known[key]
    rows = set_rows(lake, reference)
    if "pair_id" not in rows.column_names:
        raise FactoryError(f"training set {found.name}@{found.version} has no pairs: its rows have no pair_id")
    ids = tuple(rows.column("pair_id").to_pylist())
    with _lock:
        _known[key] = ids
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return ids


def set_rows(lake: Lake, reference: str) -> pa.Table:
    """All rows of a training set, both splits one after the other."""
    built = read_training_set(lake, reference)
    return pa.concat_tables([one for one in (built.train, built.held_out) if one.num_rows] or [built.train])
