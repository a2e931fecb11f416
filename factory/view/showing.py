"""What a page shows: tables, each also as JSON, CSV and Parquet at the page's address with an ending."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any
from urllib.parse import urlencode

import msgspec
import pyarrow as pa
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from factory.monitor.plain_text import counted
from factory.monitor.table import is_number
from schemas.errors import FactoryError, nearest
from stores.reading import as_csv, python_rows, write_parquet

ENDINGS = {"json": "application/json", "csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
ROWS_SHOWN = 1_000
"""of a table in a page; the endings give all"""
CHARACTERS_SHOWN = 300
"""of a cell in a page"""
_MOST_IN_MEMORY = 32_000_000

Href = Callable[[dict[str, Any]], str | None]
"""The address that a cell links to, from its row."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A table of a page."""

    name: str
    rows: pa.Table
    links: dict[str, Href] = field(default_factory=dict)
    """by column"""
    caption: str = ""
    count: int | None = None
    """of all rows, if `rows` are only the first; None: `rows` are all"""
    capped: bool = False
    """there are more rows than `count`"""
    hidden: tuple[str, ...] = ()
    """columns that only the endings give"""
    drawn: pa.Table | None = None
    """the same as sentences and signs, which the page shows in place of `rows`; None: it shows `rows`"""

    @property
    def on_page(self) -> pa.Table:
        return self.rows if self.drawn is None else self.drawn

    def columns(self) -> list[str]:
        return [name for name in self.on_page.schema.names if name not in self.hidden]

    def is_number(self, column: str) -> bool:
        return is_number(self.on_page.schema.field(column).type)

    def cells(self) -> Iterator[list[tuple[str, str | None, bool]]]:
        """Each row as texts with their addresses, and whether a text was cut."""
        for row in python_rows(self.on_page.slice(0, ROWS_SHOWN)):
            texts = ((name, told(row[name])) for name in self.columns())
            yield [
                (
                    text[:CHARACTERS_SHOWN],
                    self.links[name](row) if name in self.links else None,
                    len(text) > CHARACTERS_SHOWN,
                )
                for name, text in texts
            ]

    def counted(self) -> str:
        count = self.rows.num_rows if self.count is None else self.count
        shown = min(self.rows.num_rows, ROWS_SHOWN)
        more = ">" if self.capped else ""
        return f"{more}{counted(count, 'row')}" + (f", the first {shown:,} shown" if shown < count else "")


@dataclass(frozen=True, slots=True)
class Page:
    """A page: a template, what it is filled with, and its tables."""

    template: str
    title: str
    context: dict[str, Any] = field(default_factory=dict)
    tables: Sequence[Shown] = ()
    """the first is the one that the endings give without `?table=`"""
    status: int = 200


def told(value: Any) -> str:
    """A value as text for a cell."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e6 else f"{value:,.0f}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")[:19]
    if isinstance(value, list):
        return ", ".join(told(one) for one in value)
    return str(value)


def routes(path: str, page: Callable[[Request], Page]) -> list[Route]:
    """A page at `path`, and its tables at `path` with each ending."""

    def ended(ending: str) -> Callable[[Request], Response]:
        return lambda request: rows_as(in_order(request, _chosen(request, page(request))), ending)

    ends = [Route(f"{path if path != '/' else '/index'}.{ending}", ended(ending)) for ending in ENDINGS]
    return [*ends, Route(path, lambda request: render(request, page(request)))]


def render(request: Request, page: Page) -> Response:
    """The page as HTML."""
    templates: Jinja2Templates = request.app.state.templates
    tables = [in_order(request, shown) for shown in page.tables]
    context = {"title": page.title, "tables": tables, "state": address(request), **page.context}
    return templates.TemplateResponse(request, page.template, context, status_code=page.status)


def address(request: Request, **changes: str | None) -> str:
    """The page's own address with some of its query changed; None takes a parameter out."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in changes]
    kept += [(name, value) for name, value in changes.items() if value is not None]
    return request.url.path + ("?" + urlencode(kept) if kept else "")


def ending_of(request: Request, ending: str, table: str) -> str:
    """The address of one of the page's tables as a file."""
    query = [
        *((name, value) for name, value in request.query_params.multi_items() if name != "table"),
        ("table", table),
    ]
    path = request.url.path
    return f"{'/index' if path == '/' else path}.{ending}?{urlencode(query)}"


def is_file(request: Request) -> bool:
    """Whether rows are asked for as a file, and not a page."""
    return request.url.path.rpartition(".")[2] in ENDINGS


def _chosen(request: Request, page: Page) -> Shown:
    name = request.query_params.get("table")
    by_name = {shown.name: shown for shown in page.tables}
    if not by_name:
        raise FactoryError(f"the page {request.url.path} has no table: leave the ending out")
    if name is None:
        return page.tables[0]
    if name not in by_name:
        raise FactoryError(f"the page has no table {name!r}: {nearest(name, by_name)}")
    return by_name[name]


def rows_as(shown: Shown, ending: str) -> Response:
    """A table's rows as a file."""
    return stream(shown.rows.schema, shown.rows.to_batches(), ending, shown.name)


def stream(schema: pa.Schema, batches: Iterable[pa.RecordBatch], ending: str, name: str) -> Response:
    """Rows as a file, as they come; Parquet once all are there."""
    headers = {"content-disposition": f'attachment; filename="{name}.{ending}"'} if ending != "json" else {}
    if ending == "parquet":
        return StreamingResponse(_parquet(schema, batches), media_type=ENDINGS[ending], headers=headers)
    texts = _json(batches) if ending == "json" else as_csv(schema, batches)
    return StreamingResponse(texts, media_type=ENDINGS[ending], headers=headers)


def _json(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """One array; not a number is null, as JSON has none."""
    between = b"["
    for batch in batches:
        for row in python_rows(batch):
            yield between + msgspec.json.encode(row)
            between = b",\n"
    yield b"]\n" if between != b"[" else b"[]\n"


def _parquet(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    with SpooledTemporaryFile(_MOST_IN_MEMORY) as file:
        write_parquet(schema, batches, file)
        file.seek(0)
        while part := file.read(1 << 20):
            yield part


def in_order(request: Request, shown: Shown) -> Shown:
    """A table in the order that the address asks for: `?sort=TABLE.COLUMN`, or `-TABLE.COLUMN` for the largest first.

    Tables of which the page has only the first rows keep their order.
    """
    asked = request.query_params.get("sort", "")
    table, _, column = asked.lstrip("-").partition(".")
    if table != shown.name or column not in shown.rows.schema.names or not _sortable(shown, column):
        return shown
    order = "descending" if asked.startswith("-") else "ascending"
    return replace(shown, rows=shown.rows.sort_by([(column, order)]))


def order_of(request: Request, shown: Shown, column: str) -> str | None:
    """The address that sorts a table by a column, by its other end if it is sorted by it; None: it cannot be."""
    name = f"{shown.name}.{column}"
    if not _sortable(shown, column):
        return None
    return address(request, sort=f"-{name}" if request.query_params.get("sort") == name else name)


def _sortable(shown: Shown, column: str) -> bool:
    if shown.count is not None or shown.drawn is not None or shown.rows.num_rows < 2:
        return False
    kind = shown.rows.schema.field(column).type
    return not (pa.types.is_nested(kind) or pa.types.is_null(kind))


STATIC = Path(__file__).parent / "static"
TEMPLATES = Path(__file__).parent / "templates"
