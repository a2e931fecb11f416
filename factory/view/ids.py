"""Finds a row by the beginning of its id, and offers the nearest ids where there is none."""

from factory.view.queries import page_sql
from schemas.errors import FactoryError
from schemas.tables import TABLES
from stores.lake import Lake


class NotThere(FactoryError):
    """There is no row with this id."""

    def __init__(self, table: str, id: str, near: list[str]) -> None:
        offered = f": the nearest are {', '.join(near)}" if near else f": `factory sql 'FROM {table}'` lists all"
        super().__init__(f"no row of {table} has the id {id[:80]!r}{offered}")
        self.table, self.near = table, near


def full_id(lake: Lake, table: str, beginning: str) -> str:
    """The one id of a table that begins so.

    Raises:
        NotThere: none does, or several do; it names the nearest.
    """
    column = next(iter(TABLES[table].__dataclass_fields__))
    found = lake.query(
        f"SELECT {column} FROM {table} WHERE starts_with({column}, $id) ORDER BY {column} <> $id, 1 LIMIT 6",
        {"id": beginning},
    )
    ids = found.column(0).to_pylist()
    if ids and (ids[0] == beginning or len(ids) == 1) and beginning:
        return str(ids[0])
    raise NotThere(table, beginning, ids or nearest_ids(lake, table, beginning))


def nearest_ids(lake: Lake, table: str, id: str) -> list[str]:
    """At most five ids of a table with the longest beginning in common with `id`."""
    column = next(iter(TABLES[table].__dataclass_fields__))
    text = page_sql("near_ids").replace("{table}", table).replace("{column}", column)
    return [str(found) for found in lake.query(text, {"id": id}).column(0).to_pylist()]
