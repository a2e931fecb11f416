"""What a loop will do and need, round by round, before anything is paid for."""

from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from factory.loops.checking import check_before
from factory.loops.plan import finished
from factory.loops.reading import Loop
from factory.loops.resources import disk_of, free_bytes, parameters_by_role
from factory.loops.rounds import models_folder
from factory.monitor.plain_text import clock, counted, visible
from schemas.errors import FactoryError
from stores.lake import Lake
from stores.sql import sql


def print_plan(lake: Lake | None, loop: Loop, console: Console) -> None:
    """Prints the steps of each round, done ones marked, and what a round costs by what this lake has measured.

    Args:
        lake: None: there is none yet.
    """
    done = {} if lake is None else finished(lake, loop.loop_id)
    console.print(
        Text.assemble(("loop ", "dim"), (loop.loop_id, "bold"), f", {counted(loop.settings.rounds, 'round')}")
    )
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("round", "steps", "done"):
        table.add_column(column, overflow="fold")
    for number, steps in groupby(loop.steps, key=lambda step: step.round):
        of_round = list(steps)
        ended = sum(step in done for step in of_round)
        table.add_row(str(number), Text(visible(", ".join(map(str, of_round)))), f"{ended} of {len(of_round)}")
    console.print(table)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in (*_prompts(loop), *_cost(lake, loop), *_disk(lake, loop), *_to_mend(loop)):
        grid.add_row(label, Text(visible(text)))
    console.print(grid)


def _to_mend(loop: Loop) -> list[tuple[str, str]]:
    """What would keep the loop from beginning."""
    try:
        check_before(loop)
    except FactoryError as error:
        return [("mend first", str(error))]
    return []


def _prompts(loop: Loop) -> list[tuple[str, str]]:
    prompts = loop.settings.prompts
    count = "all" if prompts.each_round is None else f"{prompts.each_round:,}"
    which = "the same in every round" if prompts.same else "new ones in every round"
    return [("prompts", f"{count} of {loop.recipe.prompts.source} a round, {which}")]


def _cost(lake: Lake | None, loop: Loop) -> list[tuple[str, str]]:
    """Tokens and time of a round, from runs of the same recipe in this lake."""
    measured = (
        []
        if lake is None
        else lake.query(sql("report/cost_of_recipe"), {"recipe_hash": loop.recipe.hash()}).to_pylist()
    )
    budget = loop.settings.budget.max_tokens
    limit = [("budget", f"{counted(budget, 'token')} in all")] if budget is not None else []
    if not measured or not measured[0]["prompts"]:
        how = f"not known yet: `factory run {loop.settings.recipe} --dry-run` asks 20 prompts and estimates them"
        return [("tokens and time", how), *limit]
    (per,) = measured
    prompts = loop.settings.prompts.each_round
    if prompts is None:
        return [
            (
                "tokens and time",
                f"{per['tokens']:,.0f} tokens and {per['seconds']:.1f} s a prompt, in this lake so far",
            ),
            *limit,
        ]
    tokens, seconds = per["tokens"] * prompts, per["seconds"] * prompts
    told = f"about {tokens:,.0f} tokens and {clock(seconds)} a round for its run, by {counted(per['prompts'], 'prompt')} in this lake"
    return [
        (
            "tokens and time",
            f"{told}; about {tokens * loop.settings.rounds:,.0f} tokens in all, without evaluations and online trainings",
        ),
        *limit,
    ]


def _disk(lake: Lake | None, loop: Loop) -> list[tuple[str, str]]:
    parameters = parameters_by_role(loop)
    if not parameters:
        return [("disk", "not known: the weights are not on this machine")]
    disk = disk_of(parameters)
    rounds = min(loop.settings.rounds, loop.settings.keep_rounds or loop.settings.rounds)
    told = f"{disk.models / 1e9:.1f} GB of models a round, {disk.models * rounds / 1e9:.1f} GB in all"
    room = f"; {free_bytes(models_folder(lake)) / 1e9:.0f} GB are free" if lake is not None else ""
    return [("disk", f"{told}, {disk.checkpoint / 1e9:.1f} GB more while a model is trained{room}")]
