"""All commands, in the order of `factory --help`."""

import atexit
import gc
from collections.abc import Callable
from typing import Annotated

import typer

from factory.cli.auditing import audit
from factory.cli.batch import batch
from factory.cli.copying import clone
from factory.cli.copying import gc as collect_garbage
from factory.cli.documenting import documents
from factory.cli.evaluating import evaluate
from factory.cli.exporting import export
from factory.cli.importing import import_
from factory.cli.judging import judge
from factory.cli.keeping import build, compact, expire, migrate, train, verify
from factory.cli.looking import doctor, pair, recipes, snapshots, sql, status, tree, views
from factory.cli.looping import fork, loop
from factory.cli.publishing import publish, publish_model, pull
from factory.cli.reporting import report
from factory.cli.rerunning import lock, rerun
from factory.cli.running import resume, run
from factory.cli.viewing import view

# Loading the modules creates hundreds of thousands of permanent objects; scanning them for cycles again and again, and
# once more at exit, takes a sixth of a short run.
gc.set_threshold(50_000, 20, 20)
atexit.register(gc.freeze)


def _in_paragraphs(command: Callable[..., None]) -> str:
    """A command's docstring with a line for each paragraph; typer would break the terminal's lines where it does."""
    return "\n\n".join(" ".join(each.split()) for each in str(command.__doc__).split("\n\n"))


app = typer.Typer(
    help="A factory for preference datasets: a model answers, a judge finds its failures, a tree search fixes them; "
    "a versioned lake keeps every row with its lineage.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
PANELS = {
    "Make data and models": (run, loop, fork, resume, status, build, audit, train, evaluate, judge, documents),
    "Inspect": (view, sql, tree, pair, report, recipes),
    "Share and reproduce": (export, publish, publish_model, pull, lock, rerun),
    "Maintain the lake": (views, snapshots, verify, clone, compact, expire, migrate, doctor),
}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel, help=_in_paragraphs(command))(command)
making, *_, keeping = PANELS
app.command("import", rich_help_panel=making)(import_)
app.command("gc", rich_help_panel=keeping, help=_in_paragraphs(collect_garbage))(collect_garbage)
app.add_typer(batch, name="batch", rich_help_panel=making)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"preference-factory {version('preference-factory')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """`main` and `train` read --debug."""
