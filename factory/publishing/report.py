"""What a terminal shows of a publication and of what was pulled."""

from pathlib import Path

from rich.text import Text

from factory.monitor.console import Console
from factory.monitor.plain_text import counted
from factory.publishing.hub import Place
from factory.publishing.model import DoneModel
from factory.publishing.publish import Done
from factory.publishing.pull import ROWS, Pulled


def print_published(done: Done, place: Place, out: Path | None) -> None:
    """The card of a dry run, what was allowed, and where it is."""
    console, facts = Console(), done.prepared.facts
    if out is not None:
        console.print(Text(done.card), soft_wrap=True)
    for one in done.prepared.exceptions:
        console.print(Text(f"allowed: {one.check}: {one.reason}", "yellow"), soft_wrap=True)
    console.print(
        Text.assemble(
            (facts.reference, "bold"), f", {counted(facts.rows, 'row')}, {_files(done.files, done.size_bytes)}"
        )
    )
    console.print(Text(f"fingerprint {facts.row.fingerprint}"), soft_wrap=True)
    _print_place(console, place, done.commit, out)


def print_pulled(pulled: Pulled, repo: str, lake: str) -> None:
    """What a lake was made of."""
    console = Console()
    held = ", ".join(counted(count, name.removesuffix("s").replace("_", " ")) for name, count in pulled.counts.items())
    console.print(
        Text.assemble((pulled.reference, "bold"), f" of {repo} at {pulled.commit[:12]} is in {lake}: {held}"),
        soft_wrap=True,
    )
    console.print(Text(f"fingerprint {pulled.fingerprint}, as it was published"), soft_wrap=True)
    if not pulled.lineage:
        console.print(
            f"published without lineage: the lake has the set's rows (table {ROWS}), and not the searches behind them"
        )


def print_model(done: DoneModel, place: Place, out: Path | None) -> None:
    """The card of a dry run, what stays here, and where it is."""
    console = Console()
    if out is not None:
        console.print(Text(done.card), soft_wrap=True)
    if done.kept_back:
        console.print(Text(f"not published: {', '.join(done.kept_back)}", "yellow"), soft_wrap=True)
    console.print(Text.assemble((done.name, "bold"), f", {_files(done.files, done.size_bytes)}"), soft_wrap=True)
    _print_place(console, place, done.commit, out)


def _files(count: int, size_bytes: int) -> str:
    return f"{counted(count, 'file')}, {size_bytes / 1e6:,.2f} MB"


def _print_place(console: Console, place: Place, commit: str | None, out: Path | None) -> None:
    if out is not None:
        console.print(Text(f"wrote {out}; nothing was uploaded"), soft_wrap=True)
        return
    at = f" on branch {place.revision}" if place.revision else ""
    console.print(Text(f"published as {place.repo}{at}, commit {str(commit)[:12]}"), soft_wrap=True)
