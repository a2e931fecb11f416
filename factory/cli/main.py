"""The command line: each command parses, calls one function and prints one result."""

import errno
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from factory.cli.batch import batch
from factory.cli.options import (
    ExecutorOption,
    GpusOption,
    JudgeOption,
    LakeOption,
    LimitOption,
    LogFormatOption,
    ModelNameOption,
    ModelOption,
    OverrideOption,
    PromptsOption,
    RayAddressOption,
    RecipeArgument,
    SeedOption,
    WorkersOption,
    assignments,
    order_of_options,
    to_type,
)
from schemas.errors import FactoryError

app = typer.Typer(
    help="A factory for preference datasets: a model answers, a judge finds its failures, a tree search mends them; "
    "every row has its lineage in a versioned lake.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(batch, name="batch")


@app.callback()
def options(debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False) -> None:
    """Read by `main`, which decides how an error is shown, and by `train`, which passes it on."""


@app.command()
def run(
    recipe: RecipeArgument = "spar",
    lake: LakeOption = "lake",
    prompts: PromptsOption = None,
    limit: LimitOption = None,
    model: ModelOption = None,
    model_name: ModelNameOption = None,
    judge: JudgeOption = None,
    seed: SeedOption = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask anew what the journal has answers to.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask 20 of the prompts only, and estimate what all of them would take.")
    ] = False,
    log_format: LogFormatOption = None,
    executor: ExecutorOption = "local",
    workers: WorkersOption = 2,
    ray_address: RayAddressOption = None,
    gpus_per_worker: GpusOption = 0,
    override: OverrideOption = None,
) -> None:
    """Run a recipe: answers, judgements, trees and pairs go into the lake. The same order again goes on where it stopped."""
    order = order_of_options(recipe, prompts, limit, model, model_name, judge, seed, override)
    if dry_run:
        from factory.monitor.display import watch
        from factory.monitor.estimate import estimate, print_estimate
        from factory.runs.progress import Progress

        progress = Progress()
        with watch(progress, log_format):
            estimated = estimate(order, lake, progress)
        print_estimate(estimated, Console())
        return
    if fresh:
        from factory.runs.specification import anew

        order = anew(order, lake)
    _run(order, lake, log_format, _answering(executor, workers, ray_address, gpus_per_worker))


@app.command()
def resume(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run's id, or the beginning of it.")],
    lake: LakeOption = "lake",
    log_format: LogFormatOption = None,
    executor: ExecutorOption = "local",
    workers: WorkersOption = 2,
    ray_address: RayAddressOption = None,
    gpus_per_worker: GpusOption = 0,
    override: OverrideOption = None,
) -> None:
    """Go on with a run that was stopped; nothing that was answered is asked again.

    What is not asked of a model may change: who serves it, how much is spent (-o budget.max_requests=1000).
    """
    from factory.runs.specification import order_of
    from stores.lake import Lake

    with Lake.open(lake) as opened:
        order = order_of(opened, run_id, assignments(override))
    _run(order, lake, log_format, _answering(executor, workers, ray_address, gpus_per_worker))


def _answering(executor: str, workers: int, ray_address: str | None, gpus_per_worker: float) -> Any:
    """Who takes the prompts of a run through its stages."""
    if executor == "local":
        from factory.runs.loop import answer_here

        return answer_here
    if executor != "ray":
        raise FactoryError(f"there is no executor {executor!r}: give local or ray")
    from factory.runs.ray_executor import Cluster, answer_on

    return answer_on(Cluster(workers, ray_address, gpus_per_worker))


def _run(order: Any, lake: str, log_format: str | None, answering: Any) -> None:
    from factory.monitor.display import watch
    from factory.monitor.report import print_summary
    from factory.runs.loop import run_on
    from factory.runs.progress import Progress
    from stores.lake import Lake

    progress = Progress()
    with Lake.open(lake, create=True) as opened, opened.one_thread():
        try:
            with watch(progress, log_format):
                run_id = run_on(opened, order, progress, answering=answering)
        except KeyboardInterrupt:
            said = "stopped; nothing answered is lost: go on with `factory resume`"
            raise FactoryError(to_type(said, progress.run_id, lake)) from None
        except FactoryError as error:
            raise FactoryError(to_type(str(error), progress.run_id, lake)) from error
        print_summary(opened, run_id, Console())
    if progress.set_aside:
        raise FactoryError(
            f"{len(progress.set_aside)} of {progress.prompts} prompts could not be answered and were set aside; "
            f"the first is {progress.set_aside[0]} (shorten the prompt, or give a model with a longer context)"
        )


@app.command()
def status(
    run_id: Annotated[str | None, typer.Argument(metavar="RUN", help="One run; else all.")] = None,
    lake: LakeOption = "lake",
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again every two seconds while a run is at work.")
    ] = False,
) -> None:
    """How far the runs of a lake are and what they have cost, also while one is going on."""
    from factory.monitor.status import print_status, watch_status
    from stores.lake import Lake

    with Lake.open(lake) as opened:
        (watch_status if watch else print_status)(opened, run_id or "", Console())


@app.command()
def build(
    name: Annotated[str, typer.Argument(help="A bundled training set, or a .sql file.")],
    run_id: Annotated[list[str] | None, typer.Option("--run", help="Made of these runs; else of all.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="-p min_similarity=0.5")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the Parquet files; else beside the lake.")] = None,
    lake: LakeOption = "lake",
) -> None:
    """Build a training set at the newest snapshot, pin it there and write it as Parquet."""
    from factory.monitor.build import build_and_report
    from stores.lake import Lake

    with Lake.open(lake) as opened:
        build_and_report(opened, name, assignments(parameter), run_id, out, Console())


@app.command()
def train(
    context: typer.Context,
    objective: Annotated[str, typer.Argument(help="dpo (actor) or rft (refiner).")],
    training_set: Annotated[str, typer.Option("--set", help="As in spar_dpo@1; without a version the newest.")],
    model: Annotated[str, typer.Option(help="embedded:NAME, a folder, a .gguf file, or a hub id.")],
    config: Annotated[str | None, typer.Option(help="A preset (small-cpu) or a YAML file.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of the trained model.")] = None,
    seed: Annotated[int, typer.Option(help="The trainer's seed.")] = 0,
    lake: LakeOption = "lake",
) -> None:
    """Train on a pinned training set, in a process of its own."""
    import subprocess

    if objective not in ("dpo", "rft"):
        raise FactoryError(f"there is no objective {objective!r}: give dpo (the actor) or rft (the refiner)")
    if model.startswith("embedded:"):
        from factory.inference.weights import fetch

        model = str(fetch(model.removeprefix("embedded:")).path)
    command = [sys.executable, "-m", f"trainers.{objective}", "--lake", lake, "--set", training_set, "--model", model]
    command += ["--seed", str(seed)]
    command += ["--config", config] if config else []
    command += ["--output", str(output)] if output else []
    command += ["--debug"] if context.find_root().params["debug"] else []
    raise typer.Exit(subprocess.run(command, check=False).returncode)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="Any reading query over the tables and views (docs/schema.md).")],
    at: Annotated[int | None, typer.Option(help="A snapshot: the lake as it was then.")] = None,
    format: Annotated[str, typer.Option("--format", "-f", help="table, csv, json or parquet.")] = "table",
    out: Annotated[Path | None, typer.Option(help="File to write to; needed for parquet.")] = None,
    rows: Annotated[int, typer.Option(help="Rows shown in a table at most.")] = 50,
    lake: LakeOption = "lake",
) -> None:
    """Ask the lake in SQL; nothing can be changed from here."""
    from factory.monitor.table import table_of
    from stores.lake import Lake
    from stores.reading import read_only, write_rows

    if format not in ("table", "csv", "json", "parquet"):
        raise FactoryError(f"there is no format {format!r}: give table, csv, json or parquet")
    with Lake.open(lake, at=at) as opened:
        found = read_only(opened, query)
    if format == "table":
        table_of(found, Console(), rows)
    else:
        write_rows(found, format, out)


@app.command()
def tree(
    tree_id: Annotated[str, typer.Argument(metavar="TREE", help="The tree's id, or the beginning of it.")],
    lake: LakeOption = "lake",
) -> None:
    """Draw a search tree."""
    from factory.monitor.report import print_tree

    _show(print_tree, "tree", tree_id, lake)


@app.command()
def pair(
    pair_id: Annotated[str, typer.Argument(metavar="PAIR", help="The pair's id, or the beginning of it.")],
    lake: LakeOption = "lake",
) -> None:
    """Show a pair with its word-level difference."""
    from factory.monitor.report import print_pair

    _show(print_pair, "pair", pair_id, lake)


@app.command()
def snapshots(lake: LakeOption = "lake") -> None:
    """List the lake's snapshots; each commit of a run is one."""
    from factory.monitor.table import table_of
    from stores.lake import Lake

    with Lake.open(lake) as opened:
        table_of(opened.snapshots(), Console(), 1_000)


@app.command()
def compact(lake: LakeOption = "lake") -> None:
    """Merge small files; no row changes."""
    from stores.lake import Lake

    with Lake.open(lake) as opened:
        opened.compact()


@app.command()
def migrate(lake: LakeOption = "lake") -> None:
    """Bring a lake of an earlier schema version to today's; until then it can be read, not written."""
    from stores.migrate import migrate as migrate_lake

    console = Console(soft_wrap=True)
    migrate_lake(lake, lambda said: console.print(Text(said)))


@app.command()
def expire(
    older_than_days: Annotated[float, typer.Option(min=0, help="Snapshots older than this many days.")],
    lake: LakeOption = "lake",
) -> None:
    """Forget old snapshots, but never one that a training set pins."""
    from stores.lake import Lake

    with Lake.open(lake) as opened:
        expired = opened.expire(datetime.now(UTC) - timedelta(days=older_than_days))
    Console().print(f"{len(expired)} snapshots expired")


@app.command()
def doctor(
    lake: LakeOption = "lake",
    model: Annotated[str | None, typer.Option(help="An endpoint to try: a base URL, or embedded:NAME.")] = None,
) -> None:
    """Say what is installed, which endpoints answer, what is missing and how to mend it."""
    from factory.monitor.doctor import examine

    if not examine(lake, model, Console()):
        raise typer.Exit(1)


def _show(show: Callable[[Any, str, Console], None], noun: str, beginning: str, lake: str) -> None:
    """Shows the one tree or pair whose id begins so."""
    from stores.lake import Lake

    table, column = f"{noun}s", f"{noun}_id"
    with Lake.open(lake) as opened:
        found = opened.query(
            f"SELECT {column} FROM {table} WHERE starts_with({column}, $id) ORDER BY 1 LIMIT 2", {"id": beginning}
        )
        if found.num_rows != 1:
            fault = "there is no row of" if not found.num_rows else "more than one row fits in"
            raise FactoryError(f"{fault} {table} with {column} {beginning!r}: `factory sql 'FROM {table}'` lists them")
        show(opened, found.column(0)[0].as_py(), Console())


def main(arguments: list[str] | None = None, command: Callable[..., Any] = app) -> None:
    """Runs the command line; an error that a person can mend is one sentence and exit code 1."""
    # `--debug` may stand anywhere: it is mostly added at the end of a command that has just failed.
    words = sorted(sys.argv[1:] if arguments is None else arguments, key=lambda word: word != "--debug")
    try:
        command(words)
    except (FactoryError, OSError) as error:
        if "--debug" in words or not (isinstance(error, FactoryError) or error.filename or error.errno == errno.ENOSPC):
            raise
        # One line without control characters: a message may quote a file or an endpoint.
        text = "".join(c if c.isprintable() else " " for c in _sentence(error))
        if "--log-format json" in " ".join(words).replace("=", " "):
            from factory.monitor.event_log import write_event

            write_event("error", message=text)
            raise SystemExit(1) from None
        Console(stderr=True, soft_wrap=True).print(Text.assemble(("error:", "red"), " ", text))
        raise SystemExit(1) from None


def _sentence(error: FactoryError | OSError) -> str:
    if isinstance(error, FactoryError):
        return str(error)
    advice = "free some space" if error.errno == errno.ENOSPC else "give another place, or mend its permissions"
    return f"{error.filename or 'a file'} cannot be used: {error.strerror}; {advice}"


if __name__ == "__main__":
    main()
