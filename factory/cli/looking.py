"""Commands that inspect a lake, a recipe or the machine, and change nothing."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from factory.cli.options import LakeOption
from factory.monitor.console import Console
from schemas.errors import FactoryError

FullOption = Annotated[bool, typer.Option("--full", help="Show long texts in full.")]


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One recipe, by name or file; by default, all.")
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of a recipe, for editors.")] = False,
) -> None:
    """List the recipes, or one recipe's keys with types, values and sources."""
    from factory.recipes.listing import print_recipe, print_recipes, recipe_schema

    if schema:
        typer.echo(recipe_schema())
    elif name is None:
        print_recipes(Console())
    else:
        print_recipe(name, Console())


def status(
    run_id: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The id of a run or loop, or a prefix of it; by default, all.")
    ] = None,
    lake: LakeOption = "lake",
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Refresh every two seconds while a run is active.")
    ] = False,
) -> None:
    """Show the progress and cost of a lake's runs and loops, even while one is active."""
    from factory.monitor.rounds import print_loops
    from factory.monitor.status import print_status, read_status, watch_status
    from stores.lake import Lake

    with Lake.open(lake) as opened:
        if not watch and print_loops(opened, run_id or "", Console()) and not read_status(opened, run_id or ""):
            return
        (watch_status if watch else print_status)(opened, run_id or "", Console())


def sql(
    query: Annotated[str, typer.Argument(help="Any read-only query over the tables and views (docs/schema.md).")],
    at: Annotated[int | None, typer.Option(help="Query the lake as of this snapshot.")] = None,
    format: Annotated[str, typer.Option("--format", "-f", help="table, csv, json or parquet.")] = "table",
    out: Annotated[Path | None, typer.Option(help="File to write to; needed for parquet.")] = None,
    rows: Annotated[int, typer.Option(help="Maximum rows to show in a table.")] = 50,
    timeout: Annotated[float, typer.Option(min=0.1, help="End the query after this many seconds.")] = 60,
    full: FullOption = False,
    lake: LakeOption = "lake",
) -> None:
    """Query the lake in SQL, read-only: one query, in a process of its own that can reach nothing but the lake's data."""
    from stores.door.asking import asking
    from stores.door.question import Limits, Question

    if format not in ("table", "csv", "json", "parquet"):
        raise FactoryError(f"there is no format {format!r}: give table, csv, json or parquet")
    if format == "parquet" and out is None:
        raise FactoryError("Parquet needs an output file: give --out rows.parquet")
    with asking(Question(lake, query, at=at, limits=Limits(timeout))) as answer:
        from factory.monitor.table import table_of
        from stores.reading import first_rows, write_rows

        if format == "table":
            found, count = first_rows(answer.schema, answer.batches, rows)
            table_of(found, Console(), rows, count, full=full)
        else:
            write_rows(answer.schema, answer.batches, format, out)


def views() -> None:
    """Print the SQL of the views and macros, for a plain DuckDB shell; a lake does not store them."""
    from stores.sql import views as text

    typer.echo(text())


def tree(
    tree_id: Annotated[str, typer.Argument(metavar="TREE", help="The tree's id or a prefix of it.")],
    node: Annotated[
        str | None, typer.Option(metavar="N", help="Show one node in full: its number in the drawing, or its id.")
    ] = None,
    diff: Annotated[
        str, typer.Option(metavar="NODE", help="With --node, what its text is compared with: parent, root or accepted.")
    ] = "parent",
    space: Annotated[bool, typer.Option("--space", help="With --node, compare white space too, and show it.")] = False,
    sets: Annotated[
        bool, typer.Option("--sets", help="With --node, wait until all training sets have been searched for it.")
    ] = False,
    full: FullOption = False,
    lake: LakeOption = "lake",
) -> None:
    """Draw a search tree, or show one of its nodes in full."""
    from factory.view.in_terminal import print_node, print_tree
    from factory.view.node import AGAINST

    if diff not in AGAINST:
        raise FactoryError(f"--diff is {diff!r}: give {' or '.join(AGAINST)}")
    show = partial(print_tree, full=full)
    if node is not None:
        show = partial(print_node, given=node, against=diff, space=space, sets=sets)
    _show(show, "trees", tree_id, lake)


def pair(
    pair_id: Annotated[str, typer.Argument(metavar="PAIR", help="The pair's id or a prefix of it.")],
    full: FullOption = False,
    lake: LakeOption = "lake",
) -> None:
    """Show a pair: its difference word by word, its judges, where it came from, and its reviews."""
    from factory.view.in_terminal import print_pair

    _show(partial(print_pair, full=full), "pairs", pair_id, lake)


def snapshots(lake: LakeOption = "lake") -> None:
    """List the lake's snapshots; each commit of a run is one."""
    from factory.monitor.table import table_of
    from stores.lake import Lake

    with Lake.open(lake) as opened:
        table_of(opened.snapshots(), Console(), 1_000)


def doctor(
    lake: LakeOption = "lake",
    model: Annotated[str | None, typer.Option(help="An endpoint to try: a base URL, or embedded:NAME.")] = None,
) -> None:
    """Check the installation, the lake and endpoints, and say how to fix what is wrong."""
    from factory.monitor.doctor import examine

    if not examine(lake, model, Console()):
        raise typer.Exit(1)


def _show(show: Callable[[Any, str, Console], None], table: str, beginning: str, lake: str) -> None:
    """Shows the one tree or pair whose id has this prefix."""
    from factory.view.errors import whole_id
    from stores.lake import Lake

    with Lake.open(lake) as opened:
        show(opened, whole_id(opened, table, beginning), Console())
