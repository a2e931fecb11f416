"""Shows an audit in a terminal, and writes it as a page."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from factory.audit.audit import Report
from factory.audit.finding import Finding, Measured
from factory.audit.page import page_of
from factory.monitor.console import Console
from factory.monitor.plain_text import counted, shortened, visible
from stores.whole import whole_file

STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red", "not applicable": "dim"}
_QUIET_S = 10
"""between two lines of progress where there is no terminal"""


@contextmanager
def telling(doing: str = "auditing") -> Iterator[Callable[[str], None]]:
    """Shows on standard error how far an audit, or what `doing` says, has come."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(doing) as status:
            yield lambda words: status.update(Text(f"{doing}: {visible(words)}"))
        return
    last = time.monotonic()

    def tell(words: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _QUIET_S:
            last = time.monotonic()
            print(f"{doing}: {visible(words)}", file=sys.stderr, flush=True)

    yield tell


def print_audit(report: Report, console: Console, *, full: bool = False) -> None:
    """Prints the checks as a table, and below it what those that did not pass found.

    Args:
        full: also what those that passed measured.
    """
    row = report.training_set
    head = f", {counted(row.train_rows, 'row')} to train on, {row.held_out_rows:,} held out, snapshot {row.snapshot}"
    console.print(Text.assemble((visible(report.reference), "bold"), head), soft_wrap=True)
    table = Table("check", "", "figure", "95% interval", "threshold", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    applicable = [found for found in report.findings if found.measured.figure is not None]
    for found in applicable:
        status = Text(found.status, STYLES[found.status])
        table.add_row(
            found.name,
            status,
            figure_of(found),
            interval_of(found.measured),
            f"{'≤' if found.most else '≥'} {found.threshold:g}",
        )
    console.print(table)
    for found in report.findings:
        if found.status in ("fail", "warn") or (full and found.status == "pass"):
            _print_finding(found, console)
    _print_rest(report, console)


def figure_of(found: Finding) -> str:
    value = found.measured.figure
    return "" if value is None else f"{value:.4g}"


def interval_of(measured: Measured) -> str:
    return "" if measured.low is None or measured.high is None else f"{measured.low:.3f} to {measured.high:.3f}"


def detail_of(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _print_finding(found: Finding, console: Console) -> None:
    console.print(Text.assemble((found.status, STYLES[found.status]), " ", (found.name, "bold"), f": {found.about}"))
    for name, value in found.measured.detail.items():
        console.print(Text(f"  {shortened(str(name), 80)}: {shortened(detail_of(value), 200)}", "dim"))
    if found.measured.examples:
        console.print(
            Text(f"  rows: {', '.join(shortened(id, 64) for id in found.measured.examples)}", "dim"), soft_wrap=True
        )


def _print_rest(report: Report, console: Console) -> None:
    reasons: dict[str, list[str]] = {}
    for found in report.findings:
        if found.status == "not applicable":
            reasons.setdefault(str(found.measured.why_not), []).append(found.name)
    for reason, names in reasons.items():
        console.print(Text(f"not applicable: {', '.join(names)}: {visible(reason)}", "dim"))
    counts = ", ".join(f"{report.count(status)} {status}" for status in STYLES)
    console.print(Text(f"{counts}; {report.plain()['summary']}"))


def write_page(report: Report, file: Path, console: Console) -> None:
    """Writes the audit as one page that needs nothing else.

    Raises:
        OSError: the file cannot be written.
    """
    with whole_file(file) as part:
        part.write_text(page_of(report), "utf-8")
    console.print(Text(f"wrote {file}"), soft_wrap=True)
