"""Figures of evaluations in a terminal, and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from factory.monitor.plain_text import counted, visible
from schemas.tables import Evaluation

ALONE = "compare only figures of the same prompts and checkers (docs/evaluation.md), which these hashes tell"


def as_json(rows: Sequence[Evaluation]) -> str:
    """The rows as a JSON list."""
    return json.dumps([asdict(row) for row in rows], indent=1, default=str, ensure_ascii=False)


def print_figures(title: str, rows: Sequence[Evaluation], console: Console) -> None:
    """Prints figures as a table; of two models, the first's minus the other's, with the test's p-value."""
    paired = rows[0].other_model_id is not None
    console.print(Text(visible(title), "bold"))
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("metric")
    table.add_column("difference" if paired else "value", justify="right")
    table.add_column("95% interval", justify="right")
    if paired:
        table.add_column("p", justify="right")
    table.add_column("prompts", justify="right")
    for row in rows:
        cells = [Text(visible(row.metric)), _share(row.value, paired), _between(row, paired)]
        if paired:
            cells.append(Text("" if row.p_value is None else f"{row.p_value:.2g}"))
        table.add_row(*cells, Text(f"{row.examples:,}"))
    console.print(table)


def print_conditions(rows: Sequence[Evaluation], console: Console) -> None:
    """Prints what the figures depend on, and so with which others they compare."""
    row = rows[0]
    sampling = msgspec.json.decode(row.settings).get("sampling", {})
    words = ", ".join(f"{name} {value}" for name, value in sampling.items())
    checkers = "" if row.checkers_hash is None else f", checkers {row.checkers_hash[:12]}"
    console.print(
        Text(visible(f"{words}; {counted(row.examples, 'prompt')} {row.prompts_hash[:12]}{checkers}"), "dim"),
        soft_wrap=True,
    )
    console.print(Text(ALONE, "dim"), soft_wrap=True)


def _share(value: float | None, signed: bool) -> Text:
    if value is None:
        return Text("none", "dim")
    return Text(f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}%")


def _between(row: Evaluation, signed: bool) -> Text:
    if row.low is None or row.high is None:
        return Text("")
    form = "+.1f" if signed else ".1f"
    return Text(f"{100 * row.low:{form}} to {100 * row.high:{form}}")
