"""Commands for loops of self-play."""

from pathlib import Path
from typing import Annotated, Any

import typer

from factory.cli.options import LakeOption, LogFormatOption, assignments, to_type
from factory.monitor.console import Console
from schemas.errors import FactoryError, Stopped

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", "--override", "-o", metavar="KEY=VALUE",
        help="Set any key of the loop (train.actor.set=mine.sql) or of its recipe (stages.search.depth=2).",
    ),
]  # fmt: skip


def loop(
    name: Annotated[str, typer.Argument(metavar="LOOP", help="A loop's YAML file, or a recipe's name or file.")],
    rounds: Annotated[int | None, typer.Option(min=1, help="The number of rounds.")] = None,
    prompts: Annotated[str | None, typer.Option(help="Where the prompts come from.")] = None,
    each_round: Annotated[int | None, typer.Option(min=1, help="Prompts in each round.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only print what each round will do, cost and need.")] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of all rounds.")] = None,
    lake: LakeOption = "lake",
    log_format: LogFormatOption = None,
    override: SetOption = None,
) -> None:
    """Run rounds of self-play: run, build, train, evaluate, then again with the new models. To continue, repeat the command."""
    from factory.loops.reading import load_loop

    changes = {
        "rounds": rounds,
        "prompts.source": prompts,
        "prompts.each_round": each_round,
        "seed": seed,
    }
    given = {path: value for path, value in changes.items() if value is not None} | assignments(override)
    found = load_loop(name, given)
    if plan:
        _plan(found, lake)
        return
    run_loop_and_report(found, lake, log_format)


def fork(
    loop_id: Annotated[str, typer.Argument(metavar="LOOP", help="The loop's id or a prefix of it.")],
    from_round: Annotated[int, typer.Option(min=1, help="The first round that differs; earlier ones are shared.")],
    override: SetOption = None,
    lake: LakeOption = "lake",
    log_format: LogFormatOption = None,
) -> None:
    """Start a loop with other settings that shares another loop's earlier rounds."""
    from factory.loops.forking import fork as fork_loop
    from stores.lake import Lake

    with Lake.open(lake) as opened:
        found = fork_loop(opened, loop_id, from_round, assignments(override))
    run_loop_and_report(found, lake, log_format)


def _plan(found: Any, lake: str) -> None:
    from factory.monitor.loop_plan import print_plan
    from stores.attach import place
    from stores.lake import Lake

    at = place(lake)
    if at.folder is not None and not (at.folder / "catalog.sqlite").exists():
        print_plan(None, found, Console())
        return
    with Lake.open(lake) as opened:
        print_plan(opened, found, Console())


def run_loop_and_report(found: Any, lake: str, log_format: str | None) -> None:
    """Runs or continues a loop, and prints its rounds."""
    from rich.text import Text

    from factory.loops.running import run_loop
    from factory.monitor.display import watch
    from factory.monitor.plain_text import clock, visible
    from factory.monitor.rounds import headline, plot_rounds, print_rounds
    from factory.monitor.telemetry import exporting
    from factory.runs.loop import Execution
    from factory.runs.progress import Progress
    from stores.lake import Lake

    console = Console(stderr=True)
    loop_id = found.loop_id
    heading = ""

    def tell(step: Any, row: Any) -> None:
        nonlocal heading
        of = f"{loop_id}, round {step.round} of {found.settings.rounds}: {step}"
        if row is None:
            so_far = headline(opened, loop_id)
            heading = of + (f" ({so_far})" if so_far else "")
            console.print(Text(of, "bold"), soft_wrap=True)
        else:
            console.print(
                Text(f"{of}: done in {clock(row.seconds)}{f', {row.note}' if row.note else ''}"), soft_wrap=True
            )

    def say(words: str) -> None:
        console.print(Text(visible(words)), soft_wrap=True)

    def watched(progress: Progress) -> Any:
        progress.heading = heading
        return watch(progress, log_format)

    with Lake.open(lake, create=True) as opened:
        try:
            run_loop(opened, found, watched, tell, say, Execution(observe=exporting))
        except KeyboardInterrupt:
            said = "stopped; no answer is lost: continue with `factory resume`"
            raise Stopped(to_type(said, loop_id, lake)) from None
        except FactoryError as error:
            raise FactoryError(to_type(str(error), loop_id, lake)) from error
        finally:
            print_rounds(opened, loop_id, Console())
        file = (opened.place.folder or Path()) / "loops" / f"{loop_id}.svg"
        file.parent.mkdir(parents=True, exist_ok=True)
        if plot_rounds(opened, loop_id, file):
            Console().print(Text(f"plot: {file}"), soft_wrap=True)
