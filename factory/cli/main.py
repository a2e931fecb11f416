"""The command line: each command parses, calls one function and prints one result."""

import atexit
import errno
import gc
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from factory.cli.batch import batch
from factory.cli.keeping import build, compact, expire, migrate, train, verify
from factory.cli.looking import doctor, pair, recipes, snapshots, sql, status, tree, views
from factory.cli.running import resume, run
from schemas.errors import FactoryError

# Loading the modules creates hundreds of thousands of permanent objects; scanning them for cycles again and again, and
# once more at exit, takes a sixth of a short run.
gc.set_threshold(50_000, 20, 20)
atexit.register(gc.freeze)

app = typer.Typer(
    help="A factory for preference datasets: a model answers, a judge finds its failures, a tree search fixes them; "
    "a versioned lake keeps every row with its lineage.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
COMMANDS = (run, resume, status, build, train, sql, tree, pair, recipes)
KEEPING = (views, snapshots, verify, compact, expire, migrate, doctor)
for command in (*COMMANDS, *KEEPING):
    app.command()(command)
app.add_typer(batch, name="batch")


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


def main(arguments: list[str] | None = None, command: Callable[..., Any] = app) -> None:
    """Runs the command line; an error that a person can fix is one sentence and exit code 1."""
    # `--debug` may stand anywhere: people append it to the command that just failed.
    words = sorted(sys.argv[1:] if arguments is None else arguments, key=lambda word: word != "--debug")
    try:
        command(words)
    except Exception as error:
        sentence = _sentence(error)
        if "--debug" in words or sentence is None:
            raise
        # One line without control characters: a message may quote a file or an endpoint.
        text = "".join(c if c.isprintable() else " " for c in sentence)
        if "--log-format json" in " ".join(words).replace("=", " "):
            from factory.monitor.event_log import write_event

            write_event("error", message=text)
            raise SystemExit(1) from None
        Console(stderr=True, soft_wrap=True).print(Text.assemble(("error:", "red"), " ", text))
        raise SystemExit(1) from None


def _sentence(error: Exception) -> str | None:
    """What a person reads; None: a fault of the program, which shows its traceback."""
    if isinstance(error, FactoryError):
        return str(error)
    if isinstance(error, OSError) and (error.filename or error.errno == errno.ENOSPC):
        advice = "free some space" if error.errno == errno.ENOSPC else "give another path, or change its permissions"
        return f"{error.filename or 'a file'} cannot be used: {error.strerror}; {advice}"
    # Not imported for this: a command that has not opened a lake cannot have met one of its errors.
    duckdb = sys.modules.get("duckdb")
    if duckdb is not None and isinstance(error, duckdb.Error):
        words = " ".join(str(error).split())
        return f"the lake's database says: {words}; `factory verify` finds damaged files, and --debug shows where it failed"
    return None


if __name__ == "__main__":
    main()
