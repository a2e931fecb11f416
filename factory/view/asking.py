"""How pages read the lake: a connection for the time of a request, and this package's own queries by name."""

import json
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from starlette.requests import Request

from factory.view.errors import id_column, not_there
from factory.view.readers import Readers
from stores.lake import Lake

_FOLDER = Path(__file__).parent / "sql"


def of_this_lake(request: Request) -> AbstractContextManager[Lake]:
    """A connection to the lake, for the thread that answers this request."""
    readers: Readers = request.app.state.readers
    return readers.lake()


@cache
def text_of(name: str) -> str:
    """The text of `factory/view/sql/NAME.sql`."""
    return (_FOLDER / f"{name}.sql").read_text("utf-8")


def query(lake: Lake, name: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
    """The rows of `factory/view/sql/NAME.sql`."""
    return lake.query(text_of(name), parameters)


@cache
def named_parts(name: str) -> dict[str, str]:
    """The parts of `factory/view/sql/NAME.sql` by their names, each below a line `-- name`."""
    parts = (part.partition("\n") for part in text_of(name).split("\n-- ")[1:])
    return {named: text.strip() for named, _, text in parts}


def query_one(lake: Lake, name: str, table: str, id: str) -> dict[str, Any]:
    """The row of `factory/view/sql/NAME.sql` about the one row of a table with this id.

    Raises:
        NotThere: there is none.
    """
    found = query(lake, name, {id_column(table): id}).to_pylist()
    if not found:
        raise not_there(lake, table, id)
    row: dict[str, Any] = found[0]
    return row


def json_object(text: str) -> dict[str, Any]:
    """A JSON object that a row keeps as text; empty: it is none, as a lake of somebody else may hold anything."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


LISTED = 1_000
"""ids up to which a query names each: DuckDB then skips the parts of files that hold none of them"""


def query_ids(lake: Lake, name: str, ids: Collection[str], parameters: Mapping[str, Any] | None = None) -> pa.Table:
    """The rows of `factory/view/sql/NAME.sql`, in which `IN ({ids})` stands for the ids given."""
    given = dict(parameters or {})
    if len(ids) > LISTED:
        return lake.query(text_of(name).replace("{ids}", "SELECT unnest($ids)"), {**given, "ids": list(ids)})
    named = {f"id{place}": id for place, id in enumerate(ids)}
    return lake.query(
        text_of(name).replace("{ids}", ", ".join(f"${one}" for one in named) or "NULL"), {**given, **named}
    )
