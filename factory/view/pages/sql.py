"""The SQL console: a query is its address, and it is asked through the same door as `factory sql`'s."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pyarrow as pa
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from factory.view.asking import of_this_lake, query
from factory.view.result_plot import KINDS, result_svg
from factory.view.showing import ENDINGS, ROWS_SHOWN, Page, Shown, render, stream
from factory.view.stored_queries import StoredQuery, parameters_of, values_of
from schemas.errors import FactoryError, nearest
from schemas.tables import TABLES
from stores.door.asking import asking
from stores.door.question import Limits, Question

SECONDS = Limits().seconds
MOST_COUNTED = 100_000
"""rows of a result that are read to say how many there are; the files give all"""


def console(request: Request) -> Response:
    """The console, and the result of the query in its address."""
    text = _text(request)
    shown: list[Shown] = []
    error = None
    if text.strip() and "stop" not in request.query_params:
        try:
            shown.append(_result(_question(request, text)))
        except FactoryError as refused:
            error = str(refused)
    given = values_of(text, _given(request))
    columns = shown[0].rows.schema.names if shown else []
    asked = request.query_params
    context: dict[str, Any] = {
        "text": text,
        "error": error,
        "parameters": {name: "" if value is None else str(value) for name, value in given.items()},
        "stored": _stored(request).values(),
        "at": asked.get("at", ""),
        "plot": asked.get("plot", ""),
        "kinds": KINDS,
        "columns": columns,
        "x": asked.get("x", columns[0] if columns else ""),
        "y": asked.get("y", columns[1] if len(columns) > 1 else ""),
        "tables_known": list(TABLES),
    }
    return render(request, Page("sql.html", "SQL", context, shown, 400 if error else 200))


def result(request: Request) -> Response:
    """All rows of the query in the address, as a file, as they come."""
    ending = request.url.path.rpartition(".")[2]
    held = ExitStack()
    answer = held.enter_context(asking(_question(request, _text(request))))

    def batches() -> Iterator[pa.RecordBatch]:
        with held:
            yield from answer.batches

    return stream(answer.schema, batches(), ending, "rows")


def plot(request: Request) -> Response:
    """The query's result as an SVG."""
    asked = request.query_params
    shown = _result(_question(request, _text(request)))
    drawn = result_svg(shown.rows, asked.get("plot", ""), asked.get("x", ""), asked.get("y", ""))
    return Response(drawn, media_type="image/svg+xml")


def schema(request: Request) -> Response:
    """The columns of every table and view, for the console's completion."""
    with of_this_lake(request) as lake:
        rows = query(lake, "sql_columns").to_pylist()
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["table_name"], []).append(row["column_name"])
    return JSONResponse(found)


def _text(request: Request) -> str:
    """The query in the address; of a ready-made one, its text."""
    name = request.query_params.get("name")
    if name is None or "sql" in request.query_params:
        return request.query_params.get("sql", "")
    stored = _stored(request)
    if name not in stored:
        raise FactoryError(f"there is no ready-made query {name!r}: {nearest(name, stored)}")
    return stored[name].text


def _stored(request: Request) -> dict[str, StoredQuery]:
    found: dict[str, StoredQuery] = request.app.state.stored_queries
    return found


def _given(request: Request) -> dict[str, str]:
    return {name[2:]: value for name, value in request.query_params.items() if name.startswith("p_")}


def _question(request: Request, text: str) -> Question:
    at = request.query_params.get("at", "").strip()
    if at and not (at.isascii() and at.isdigit() and len(at) < 19):
        raise FactoryError(f"a snapshot is a number, not {at!r}: `factory snapshots` lists them")
    used = values_of(text, _given(request)) if parameters_of(text) else {}
    return Question(request.app.state.readers.where, text, used, int(at) if at else None)


def _result(question: Question) -> Shown:
    """The first rows of a query's result, and how many there are."""
    kept: list[pa.RecordBatch] = []
    count = 0
    with asking(question) as answer:
        for batch in answer.batches:
            if count < ROWS_SHOWN:
                kept.append(batch.slice(0, ROWS_SHOWN - count))
            count += batch.num_rows
            if count > MOST_COUNTED:
                break
        rows = pa.Table.from_batches(kept, answer.schema)
    capped = count > MOST_COUNTED
    return Shown("rows", rows, count=min(count, MOST_COUNTED), capped=capped)


ROUTES = [
    Route("/sql", console),
    *[Route(f"/sql.{ending}", result) for ending in ENDINGS],
    Route("/sql.svg", plot),
    Route("/sql/schema.json", schema),
]
