"""`factory report`: a run as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from factory.cli.options import LakeOption
from factory.monitor.console import Console


def report(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run's id or a prefix of it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file to write.")] = Path("report.html"),
    lake: LakeOption = "lake",
) -> None:
    """Write a run as one HTML file that needs nothing else: outcome, cost, histograms, example trees and pairs."""
    from factory.view.errors import whole_id
    from factory.view.run_report import page_of, read_report
    from stores.lake import Lake
    from stores.whole import whole_file

    with Lake.open(lake, read_only=True) as opened:
        found = whole_id(opened, "runs", run_id)
        with Console(stderr=True).status(Text("reading the run")):
            page = page_of(read_report(opened, found))
        with whole_file(out) as part:
            part.write_text(page, encoding="utf-8")
    Console().print(Text(f"wrote {out}: {len(page.encode()):,} bytes"), soft_wrap=True)
