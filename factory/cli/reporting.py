"""`factory report`: a run as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from factory.cli.options import LakeOption
from factory.monitor.console import Console
from schemas.errors import FactoryError


def report(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run's id or a prefix of it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file to write.")] = Path("report.html"),
    lake: LakeOption = "lake",
) -> None:
    """Write a run as one HTML file that needs nothing else: outcome, cost, histograms, example trees and pairs."""
    from factory.view.errors import not_there
    from factory.view.run_report import page_of, read_report
    from stores.lake import Lake
    from stores.whole import whole_file

    with Lake.open(lake, read_only=True) as opened:
        found = opened.query(
            "SELECT run_id FROM current_runs WHERE starts_with(run_id, $id) ORDER BY run_id <> $id, run_id LIMIT 2",
            {"id": run_id},
        )
        ids = found.column("run_id").to_pylist()
        if not ids:
            raise not_there(opened, "runs", "run_id", run_id)
        if len(ids) > 1 and ids[0] != run_id:
            raise FactoryError(f"more than one run's id begins with {run_id!r}: give more of it")
        with Console(stderr=True).status(Text("reading the run")):
            page = page_of(read_report(opened, ids[0]))
        with whole_file(out) as part:
            part.write_text(page, encoding="utf-8")
    Console().print(Text(f"wrote {out}: {len(page.encode()):,} bytes"), soft_wrap=True)
