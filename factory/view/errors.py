"""What a page answers where there is nothing to show."""

import difflib
from collections.abc import Sequence

from schemas.errors import FactoryError
from stores.lake import Lake


class NotThere(FactoryError):
    """A row that a page was asked for is not in the lake."""

    def __init__(self, sentence: str, near: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.near = tuple(near)
        """ids of the table that look most like the one given"""


def not_there(lake: Lake, table: str, column: str, given: str) -> NotThere:
    """Says that no row of a table has this id, and names those nearest to it."""
    starting = lake.query(
        f"SELECT DISTINCT {column} AS id FROM {table} ORDER BY jaro_winkler_similarity({column}, $given) DESC, 1 LIMIT 20",
        {"given": given[:200]},
    )
    near = difflib.get_close_matches(given, starting.column("id").to_pylist(), 3, 0.3)
    return NotThere(
        f"{table} has no row whose {column} is {given[:80]!r}"
        + (f": the nearest are {', '.join(near)}" if near else f": `factory sql 'FROM {table}'` lists them"),
        near,
    )
