"""Shows any query's rows in a terminal, as plain text, never as markup or escapes."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from factory.monitor.plain_text import counted, cut, shortened, visible
from stores.reading import python_rows

CELL_CHARACTERS = 120
ROW_CHARACTERS, ROW_LINES = 4_000, 60
"""of each value, where there is only one row"""
NARROWEST_CELLS = 10
"""A table with narrower columns is shown as one block per row."""


def table_of(
    rows: pa.Table, console: Console, limit: int = 50, count: int | None = None, *, full: bool = False
) -> None:
    """Prints any query's rows as a table, or if that is too narrow to read, as one block per row.

    Args:
        limit: the most rows to show.
        count: the number of all rows, of which `rows` are the first; None: `rows` are all.
        full: long texts are not cut.
    """
    count = rows.num_rows if count is None else count
    shown = min(limit, rows.num_rows)

    single = count == 1
    cells = [[_cell(value, single, full) for value in _values(column.slice(0, shown))] for column in rows.columns]
    widths = [max((_width(cell.plain) for cell in column), default=0) for column in cells]
    # Break a long name over short values at its underscores.
    heads = [
        visible(name if len(name) <= width else name.replace("_", "_\n"))
        for name, width in zip(rows.schema.names, widths, strict=True)
    ]
    least = [max(min(NARROWEST_CELLS, width), _width(head)) for head, width in zip(heads, widths, strict=True)]
    if sum(least) + 2 * (len(least) - 1) > console.width and shown:
        _print_blocks(rows.schema.names, cells, console)
    else:
        wraps = sum(width + 2 for width in widths) > console.width
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), leading=int(wraps))
        for head, width, field in zip(heads, least, rows.schema, strict=True):
            justify: JustifyMethod = "right" if is_number(field.type) else "left"
            table.add_column(Text(head), justify=justify, overflow="fold", min_width=width)
        for row in zip(*cells, strict=True):
            table.add_row(*row)
        console.print(table)
    more = f", the first {shown:,} shown (`factory sql` has --rows and --out)" if shown < count else ""
    if not single and any(cell.plain.endswith("…") for column in cells for cell in column):
        more += ", long texts are cut (`factory sql` has --full)"
    console.print(Text(f"{counted(count, 'row')}{more}", "dim"))


def bar(done: int, total: int, what: str) -> Table:
    """`done` of `total`, as a bar and in figures."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=24)
    grid.add_column(no_wrap=True)
    grid.add_row(ProgressBar(max(total, 1), min(done, total), width=24), f"{done:,} of {total:,} {what}")
    return grid


def _print_blocks(names: Sequence[str], cells: Sequence[Sequence[Text]], console: Console) -> None:
    for number, row in enumerate(zip(*cells, strict=True), 1):
        console.rule(Text(f"row {number}", "dim"), align="left", style="dim")
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, cell in zip(names, row, strict=True):
            grid.add_row(Text(visible(name)), cell)
        console.print(grid)


def _cell(value: Any, single: bool, full: bool) -> Text:
    if value is None:
        return Text("NULL", "dim")
    if isinstance(value, float):
        return Text(f"{value:.6g}" if abs(value) < 1e6 else f"{value:,.1f}")
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, datetime):
        text = value.isoformat(" ", "seconds")
    elif isinstance(value, dict | list):
        text = json.dumps(value, ensure_ascii=False, default=str)
    else:
        text = str(value)
    text = visible(text)
    if full:
        return Text(text)
    if not single:
        return Text(shortened(text, CELL_CHARACTERS))
    kept, note = cut(text, ROW_CHARACTERS, ROW_LINES)
    return Text.assemble(kept, (f"\n{note}", "dim")) if note else Text(kept)


def _values(column: pa.ChunkedArray) -> list[Any]:
    values = [row["value"] for row in python_rows(pa.Table.from_arrays([column], ["value"]))]
    if pa.types.is_map(column.type):
        return [None if value is None else dict(value) for value in values]
    return values


def _width(text: str) -> int:
    return max(cell_len(line) for line in text.split("\n"))


def is_number(kind: pa.DataType) -> bool:
    """Whether a column's values are numbers, which are set flush right."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
