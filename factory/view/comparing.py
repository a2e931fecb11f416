"""Two training sets, snapshots, runs or models compared: rows added, removed and changed, and how their figures shift."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from factory.view.asking import query
from schemas.errors import FactoryError, nearest
from schemas.streams import visible
from stores.lake import Lake
from stores.training_sets import find_training_set, read_training_set

MOST = 20_000
"""rows of each side that are compared, the first by id"""
KINDS = ("set", "run", "model", "snapshot")
BINS = 20
_TEXTS, _FIGURES = ("id", "prompt_id", "first", "second"), ("value", "similarity")
_COLUMNS = pa.schema({**dict.fromkeys(_TEXTS, pa.string()), **dict.fromkeys(_FIGURES, pa.float64())})


@dataclass(frozen=True, slots=True)
class Compared:
    """One of the two that are compared."""

    kind: str
    """set, run, model or snapshot"""
    name: str
    """set: name@version; run, model: the id; snapshot: its number"""
    shown: str

    @property
    def reference(self) -> str:
        return f"{self.kind}:{self.shown}"


@dataclass(frozen=True, slots=True)
class Shift:
    """How a figure is distributed on both sides: shares of each side's rows in bins, shape (n,), of common ends (n + 1,)."""

    title: str
    a: tuple[float, ...]
    b: tuple[float, ...]
    ends: tuple[float, ...]
    median_a: float | None
    median_b: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the comparison of two finds."""

    counts: dict[str, int]
    """rows that are the same, changed, removed (only in a) and added (only in b)"""
    rows: pa.Table
    """those that are not the same (`compare_rows.sql`)"""
    shifts: tuple[Shift, ...]
    kinds: pa.Table
    """of how many rows the prompt has a constraint of a kind: kind, a, b"""
    cut: bool
    """a side has more than MOST rows"""


def find(lake: Lake, reference: str) -> Compared:
    """What `set:NAME@VERSION`, `run:ID`, `model:NAME` or `snapshot:NUMBER` names; an id may be cut short.

    Raises:
        FactoryError: nothing, or several.
    """
    kind, _, name = reference.partition(":")
    if kind not in KINDS or not name:
        raise FactoryError(
            f"{visible(reference)[:80]!r} cannot be compared: it is one of set:NAME@VERSION, run:ID, model:NAME, snapshot:NUMBER"
        )
    if kind == "set":
        found = find_training_set(lake, name)
        return Compared(kind, f"{found.name}@{found.version}", f"{found.name}@{found.version}")
    if kind == "snapshot":
        if not (name.isascii() and name.isdigit() and len(name) < 19):
            raise FactoryError(f"a snapshot is a number, not {visible(name)[:40]!r}: `factory snapshots` lists them")
        there = "SELECT snapshot_id FROM lake.snapshots() WHERE snapshot_id = $number"
        if not lake.query(there, {"number": int(name)}).num_rows:
            raise FactoryError(f"there is no snapshot {int(name)}: `factory snapshots` lists those there are")
        return Compared(kind, name, name)
    table, id, named = ("current_runs", "run_id", "run_id") if kind == "run" else ("models", "model_id", "name")
    rows = lake.query(
        f"SELECT DISTINCT {id} AS id, {named} AS name FROM {table} WHERE starts_with({id}, $given) OR {named} = $given "
        f"ORDER BY {named} <> $given, {id} <> $given, 1 LIMIT 20",
        {"given": name},
    ).to_pylist()
    exact = [row for row in rows if name in (row["id"], row["name"])] or rows
    if len(exact) != 1:
        known = lake.query(f"SELECT DISTINCT {named} AS name FROM {table} ORDER BY 1 LIMIT 1000").column(0).to_pylist()
        several = f"several have this name: give one of the ids {', '.join(row['id'] for row in exact)}"
        raise FactoryError(f"no one {kind} is {visible(name)[:80]!r}: " + (several if exact else nearest(name, known)))
    return Compared(kind, exact[0]["id"], exact[0]["id"] if kind == "run" else exact[0]["name"])


def rows_of(lake: Lake, one: Compared, prompt_id: str | None = None) -> pa.Table:
    """The rows that are compared, at most MOST + 1, by id: pairs, or answers where there are no pairs.

    Columns: id, prompt_id, first (chosen, completion or answer), second (rejected, or NULL), value, similarity.
    """
    given = {"run": None, "prompt": prompt_id, "limit": MOST + 1}
    if one.kind == "set":
        built = read_training_set(lake, one.name)
        splits = [rows for rows in (built.train, built.held_out) if rows.num_rows] or [built.train]
        return _of_set(pa.concat_tables(splits), prompt_id)
    if one.kind == "snapshot":
        with Lake.open(lake.place.where, at=int(one.name)) as then:
            return query(then, "compare_pairs", given).cast(_COLUMNS)
    if one.kind == "model":
        return query(lake, "compare_answers", {**given, "model": one.name}).cast(_COLUMNS)
    pairs = query(lake, "compare_pairs", {**given, "run": one.name})
    has_pairs = pairs.num_rows or prompt_id is not None
    found = pairs if has_pairs else query(lake, "compare_answers", {**given, "run": one.name, "model": None})
    return found.cast(_COLUMNS)


def _of_set(rows: pa.Table, prompt_id: str | None) -> pa.Table:
    names = rows.column_names
    if "chosen" not in names and "completion" not in names:
        raise FactoryError("a set of prompts has no answers to compare: compare the runs that answered them")
    first, second = ("chosen", "rejected") if "chosen" in names else ("completion", None)
    prompts = [_last(turns) for turns in rows.column("prompt").to_pylist()]
    ids = next((name for name in ("pair_id", "response_id", "id") if name in names), None)
    made = {
        "id": rows.column(ids).to_pylist() if ids is not None else [f"row {n}" for n in range(rows.num_rows)],
        # A set of somebody's own may not name its prompts: then their texts do.
        "prompt_id": rows.column("prompt_id").to_pylist() if "prompt_id" in names else prompts,
        "first": [_last(turns) for turns in rows.column(first).to_pylist()],
        "second": [None] * rows.num_rows
        if second is None
        else [_last(turns) for turns in rows.column(second).to_pylist()],
        "value": rows.column("chosen_value").to_pylist() if "chosen_value" in names else [None] * rows.num_rows,
        "similarity": rows.column("similarity").to_pylist() if "similarity" in names else [None] * rows.num_rows,
    }
    table = pa.Table.from_pydict(made, schema=_COLUMNS).sort_by("id")
    if prompt_id is not None:
        table = table.filter(pa.compute.equal(table.column("prompt_id"), prompt_id))
    return table.slice(0, MOST + 1)


def _last(turns: Sequence[dict[str, str]]) -> str:
    return turns[-1]["content"]


def compare(lake: Lake, a: Compared, b: Compared) -> Comparison:
    """Compares two by the prompts and texts of their rows; ids, which also hash the run, do not count."""
    sides = [rows_of(lake, one) for one in (a, b)]
    for name, rows in zip(("compared_a", "compared_b"), sides, strict=True):
        lake.connection.register(name, rows.slice(0, MOST))
    try:
        rows, kinds = query(lake, "compare_rows"), query(lake, "compare_kinds")
    finally:
        for name in ("compared_a", "compared_b"):
            lake.connection.unregister(name)
    counts = Counter(rows.column("what").to_pylist())
    differing = rows.filter(pa.compute.not_equal(rows.column("what"), "same"))
    titles = {
        "words": "words of the chosen text",
        "value": "the judge's value of it",
        "similarity": "likeness to the rejected one",
    }
    shifts = (_shift(title, rows.column(f"{name}_a"), rows.column(f"{name}_b")) for name, title in titles.items())
    return Comparison(
        counts={what: counts[what] for what in ("same", "changed", "removed", "added")},
        rows=differing,
        shifts=tuple(shift for shift in shifts if shift is not None),
        kinds=kinds,
        cut=any(one.num_rows > MOST for one in sides),
    )


def _shift(title: str, a: pa.ChunkedArray, b: pa.ChunkedArray) -> Shift | None:
    """None: neither side has this figure."""
    known = [column.drop_null().to_numpy().astype(float) for column in (a, b)]
    both = np.concatenate(known)
    if not both.size:
        return None
    low, high = float(both.min()), float(both.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    ends = np.linspace(low, high if high > low else low + 1, BINS + 1)
    in_a, in_b = (tuple((np.histogram(one, ends)[0] / max(one.size, 1)).tolist()) for one in known)
    median_a, median_b = (float(np.median(one)) if one.size else None for one in known)
    return Shift(title, in_a, in_b, tuple(ends.tolist()), median_a, median_b)
