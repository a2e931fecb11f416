"""A query's result as a plot."""

import pyarrow as pa

from factory.monitor.plain_text import label
from factory.monitor.table import is_number
from schemas.errors import FactoryError, nearest

KINDS = ("bar", "line", "points", "histogram")
_MOST_CHARACTERS = 40


def result_svg(rows: pa.Table, kind: str, x: str, y: str) -> str:
    """An SVG of two columns, or of one for a histogram.

    Args:
        kind: one of KINDS.
        x, y: names of columns; y is a column of numbers, of a histogram x.
    Raises:
        FactoryError: no such kind or column, or what should be numbers is not.
    """
    if kind not in KINDS:
        raise FactoryError(f"there is no plot {kind!r}: {nearest(kind, KINDS)}")
    numbers = x if kind == "histogram" else y
    for name in {x, numbers}:
        if name not in rows.schema.names:
            raise FactoryError(f"the result has no column {name!r}: {nearest(name, rows.schema.names)}")
    if not is_number(rows.schema.field(numbers).type):
        raise FactoryError(f"a {kind} plot needs numbers, and the column {numbers!r} holds none: choose another column")
    from lets_plot import (
        LetsPlot,
        aes,
        geom_bar,
        geom_histogram,
        geom_line,
        geom_point,
        ggplot,
        ggsize,
        labs,
        theme_light,
    )

    LetsPlot.set_theme(theme_light())
    values = {name: _values(rows.column(name)) for name in {x, numbers}}
    columns = {"x": values[x], "y": values[numbers]}
    colour = "#1f5fa8"
    drawn = {
        "bar": geom_bar(aes("x", "y"), stat="identity", fill=colour),
        "line": geom_line(aes("x", "y"), color=colour),
        "points": geom_point(aes("x", "y"), color=colour, alpha=0.6),
        "histogram": geom_histogram(aes("x"), bins=30, fill=colour),
    }[kind]
    named = labs(x=_plain(x), y="rows" if kind == "histogram" else _plain(y))
    return str((ggplot(columns) + drawn + named + ggsize(900, 420)).to_svg())


def _values(column: pa.ChunkedArray) -> list[object]:
    if is_number(column.type):
        return list(column.cast(pa.float64()).to_pylist())
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        return list(column.to_pylist())
    return [_plain("" if value is None else str(value)) for value in column.to_pylist()]


def _plain(text: str) -> str:
    return label(text)[:_MOST_CHARACTERS]
