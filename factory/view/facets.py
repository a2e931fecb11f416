"""Facets: how many rows of a list have each value of a property, each counted by a query and in a time of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factory.view.readers import within
from stores.lake import Lake

FACET_S = 0.2
"""seconds that a facet may take"""
COUNTED_TO = 10_000
"""counts beyond it are shown as '>10,000'"""


@dataclass(frozen=True, slots=True)
class Counted:
    """How many rows have a value."""

    value: str
    rows: int

    @property
    def told(self) -> str:
        return f">{COUNTED_TO:,}" if self.rows > COUNTED_TO else f"{self.rows:,}"


Facet = tuple[Counted, ...] | None
"""A property's values; None: counting took too long, and was stopped."""


def count_values(lake: Lake, text: str, parameters: Mapping[str, Any], seconds: float = FACET_S) -> Facet:
    """
    Args:
        text: a query of two columns: the value, and its number of rows.
    """
    found = within(lake, seconds, text, parameters)
    if found is None:
        return None
    values, counts = (column.to_pylist() for column in found.columns)
    return tuple(Counted(str(value), count) for value, count in zip(values, counts, strict=True))


def in_bins(facet: Facet, bins: int) -> list[int]:
    """A histogram's counts, where the values are the numbers of its bins, from 0."""
    counts = {int(one.value): one.rows for one in facet or ()}
    return [counts.get(bin, 0) for bin in range(bins)]
