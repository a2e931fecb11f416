"""The table of search trees: filters, a page of rows, and facets with a time limit each.

With a million nodes a query may read a few columns and no texts; the rows of one page are read last, by their ids.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import pyarrow as pa

from factory.view.asking import named_parts, query, text_of
from factory.view.facets import COUNTED_TO, FACET_S, Facet, count_values
from factory.view.readers import within
from schemas.errors import FactoryError, nearest
from stores.lake import Lake

ROWS_A_PAGE = 50
BINS = 10
"""of the histograms of value and likeness, which lie in 0..1"""

FACETS = ("outcome", "recipe", "run", "round", "model", "depth", "flaw", "constraint")
HISTOGRAMS = ("value", "likeness")
_VALUES = "LEFT JOIN (SELECT tree_id, max(value) AS value FROM nodes WHERE depth > 0 GROUP BY tree_id) USING (tree_id)"
_PAIRS = "LEFT JOIN (SELECT tree_id, max(similarity) AS similarity FROM pairs GROUP BY tree_id) USING (tree_id)"
ORDERS = {
    "newest": ("true", ""),
    "most refinements": ("nodes_expanded DESC", ""),
    "highest value": ("value DESC NULLS LAST", _VALUES),
    "lowest value": ("value NULLS LAST", _VALUES),
    "most alike": ("similarity DESC NULLS LAST", _PAIRS),
    "least alike": ("similarity NULLS LAST", _PAIRS),
}
"""By name, the order and what has to be joined for it."""


@dataclass(frozen=True, slots=True)
class TreeFilter:
    """Which trees are listed; None: any."""

    run: str | None = None
    recipe: str | None = None
    round: int | None = None
    model: str | None = None
    constraint: str | None = None
    prompt: str | None = None
    outcome: str | None = None
    depth: int | None = None
    flaw: str | None = None
    value: int | None = None
    """the tenth that the highest value of its refinements lies in, 0 to 9"""
    likeness: int | None = None
    """the tenth that the likeness of its pair's sides lies in, 0 to 9"""

    def given(self) -> dict[str, str | int]:
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}

    def without(self, name: str) -> "TreeFilter":
        return replace(self, **{name: None})


def filter_of(given: Mapping[str, str]) -> TreeFilter:
    """The filter that an address asks for; names that are no filter's are left out.

    Raises:
        FactoryError: a number or a range that is none.
    """
    names = [field.name for field in fields(TreeFilter)]
    parsed: dict[str, Any] = {name: _parsed(name, given[name]) for name in names if given.get(name)}
    return TreeFilter(**parsed)


def bin_name(bin: int) -> str:
    """How an address names a tenth: 0.4-0.5."""
    return f"{bin / BINS:g}-{(bin + 1) / BINS:g}"


def as_query(filter: TreeFilter) -> dict[str, str]:
    """The filter as an address writes it."""
    return {name: bin_name(int(v)) if name in HISTOGRAMS else str(v) for name, v in filter.given().items()}


def _parsed(name: str, text: str) -> str | int:
    if name in HISTOGRAMS:
        bins = {bin_name(bin): bin for bin in range(BINS)}
        if text not in bins:
            raise FactoryError(f"{name} in the address is {text[:40]!r}, which is no tenth: {nearest(text, bins)}")
        return bins[text]
    if name in ("round", "depth"):
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise FactoryError(f"{name} in the address is {text[:40]!r}: give a whole number")
        return int(text)
    return text


def count_trees(lake: Lake, filter: TreeFilter) -> int:
    """The number of filtered trees, up to COUNTED_TO + 1."""
    text = f"SELECT count(*) FROM (SELECT 1 FROM ({_trees(filter)}) LIMIT {COUNTED_TO + 1})"
    return int(lake.query(text, filter.given()).column(0)[0].as_py())


def list_trees(lake: Lake, filter: TreeFilter, order: str, page: int = 0, rows: int = ROWS_A_PAGE) -> pa.Table:
    """A page of the filtered trees; columns as in `sql/trees_rows.sql`.

    Raises:
        FactoryError: there is no such order.
    """
    by, join = _order(order)
    given = {**filter.given(), "rows": rows, "skip": page * rows}
    chosen = lake.query(_filled("trees_chosen", filter, order=by, join=join), given).column("tree_id")
    return query(lake, "trees_rows", {"tree_ids": chosen.to_pylist()})


def trees_around(lake: Lake, filter: TreeFilter, order: str, tree_id: str) -> dict[str, Any]:
    """The trees before and after one in the list (`before`, `after`) and its `place` from 1; empty: it is not in the list, or
    finding out takes longer than a facet may."""
    by, join = _order(order)
    found = within(
        lake, FACET_S, _filled("trees_around", filter, order=by, join=join), {**filter.given(), "tree_id": tree_id}
    )
    return next(iter(found.to_pylist()), {}) if found is not None else {}


def facet(lake: Lake, filter: TreeFilter, name: str, seconds: float = FACET_S) -> Facet:
    """Filtered trees by one of FACETS or HISTOGRAMS; its own filter is left out, so that another value can be chosen."""
    others = filter.without(name)
    return count_values(lake, _filled(f"facet_{name}", others), others.given(), seconds)


def _order(name: str) -> tuple[str, str]:
    if name not in ORDERS:
        raise FactoryError(f"there is no order {name[:40]!r} of trees: {nearest(name, ORDERS)}")
    return ORDERS[name]


def _filled(name: str, filter: TreeFilter, **texts: str) -> str:
    """A query with the filtered trees in it; only texts of this package go into it, values are bound."""
    chosen = f"tree_id IN (SELECT tree_id FROM ({_trees(filter)}))" if filter.given() else "true"
    parts = {"trees": _trees(filter), "chosen": chosen, **texts}
    # Not the comments, which explain the places.
    text = "\n".join(line for line in text_of(name).splitlines() if not line.startswith("--"))
    for place, part in parts.items():
        text = text.replace(f"{{{place}}}", part)
    return text


def _trees(filter: TreeFilter) -> str:
    conditions = " AND ".join(named_parts("trees_conditions")[name] for name in filter.given())
    return f"SELECT * FROM trees WHERE {conditions}" if conditions else "SELECT * FROM trees"
