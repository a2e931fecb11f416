"""How pages read the lake: a connection for the time of a request, and this package's own queries by name."""

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from starlette.requests import Request

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
