"""What a page answers where there is nothing to show."""

import difflib
from collections.abc import Sequence

from factory.view.readers import within
from schemas.errors import FactoryError
from stores.lake import Lake

NEAREST_S = 0.05
"""seconds for ranking the ids of a table, which may have millions"""


class NotThere(FactoryError):
    """A row that a page was asked for is not in the lake."""

    def __init__(self, sentence: str, near: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.near = tuple(near)
        """ids of the table that look most like the one given"""


def not_there(lake: Lake, table: str, given: str) -> NotThere:
    """Says that no row of a table has this id, and names those nearest to it, or how to list them."""
    column = id_column(table)
    text = f"SELECT DISTINCT {column} FROM {table} ORDER BY jaro_winkler_similarity({column}, $given) DESC, 1 LIMIT 20"
    ranked = within(lake, NEAREST_S, text, {"given": given[:200]})
    near = [] if ranked is None else difflib.get_close_matches(given, ranked.column(0).to_pylist(), 3, 0.3)
    return NotThere(
        f"{table} has no row whose {column} is {given[:80]!r}"
        + (f": the nearest are {', '.join(near)}" if near else f": `factory sql 'FROM {table}'` lists them"),
        near,
    )


def whole_id(lake: Lake, table: str, beginning: str) -> str:
    """The one id of a table's rows that begins so.

    Raises:
        NotThere: none does.
        FactoryError: several do, and none is just this.
    """
    column = id_column(table)
    text = f"SELECT DISTINCT {column} FROM {table} WHERE starts_with({column}, $beginning) ORDER BY 1 LIMIT 2"
    found = lake.query(text, {"beginning": beginning}).column(0).to_pylist()
    if not found:
        raise not_there(lake, table, beginning)
    if len(found) > 1 and found[0] != beginning:
        raise FactoryError(f"more than one row of {table} matches {column} {beginning!r}: give more of the id")
    return str(found[0])


def id_column(table: str) -> str:
    return f"{table.removesuffix('s')}_id"
