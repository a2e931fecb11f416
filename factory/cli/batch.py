"""`factory batch`: writes requests for a batch service, sends them, fetches and reads the answers."""

from pathlib import Path
from typing import Annotated

import typer

from factory.cli.options import (
    Choices,
    JudgeOption,
    LakeOption,
    LimitOption,
    ModelNameOption,
    ModelOption,
    OverrideOption,
    PromptsOption,
    RecipeArgument,
    SeedOption,
    at_lake,
    specification,
)
from factory.monitor.console import Console

batch = typer.Typer(
    help="Use a batch service (OpenAI's format) at half the price: write requests, send them, fetch the answers.",
    no_args_is_help=True,
)


@batch.command("write")
def batch_write(
    out: Annotated[Path, typer.Option(help="File for the requests; numbered if one is not enough.")],
    recipe: RecipeArgument = "spar",
    lake: LakeOption = "lake",
    prompts: PromptsOption = None,
    limit: LimitOption = None,
    model: ModelOption = None,
    model_name: ModelNameOption = None,
    judge: JudgeOption = None,
    seed: SeedOption = 0,
    override: OverrideOption = None,
) -> None:
    """Write a run's next requests as files for a batch service. Sends nothing; answers already read become rows.

    Stages that go back and forth, such as search, are left out; run them live with `factory resume`.
    """
    from factory.batch.batches import write_and_report

    spec = specification(recipe, Choices(prompts, limit, model, model_name, judge, seed, override))
    write_and_report(spec, lake, out, at_lake(lake), Console())


@batch.command("read")
def batch_read(
    answers: Annotated[list[Path], typer.Argument(help="The service's files of answers and errors.")],
    lake: LakeOption = "lake",
) -> None:
    """Read a batch service's answers into the lake's journal. Reading a file twice changes nothing."""
    from factory.batch.batches import read_and_report

    read_and_report(lake, answers, Console())


@batch.command("submit")
def batch_submit(
    files: Annotated[list[Path], typer.Argument(help="Files of requests that `factory batch write` wrote.")],
    lake: LakeOption = "lake",
) -> None:
    """Send files of requests to their model's Batch API, each once: a file that was sent before is not sent again.

    The recipe's model says the address and where the key is.
    """
    from factory.batch.submitting import submit

    submit(lake, files, at_lake(lake), Console())


@batch.command("collect")
def batch_collect(
    lake: LakeOption = "lake",
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until every batch has ended; Ctrl-C stops the waiting.")
    ] = False,
    given_up: Annotated[
        str | None,
        typer.Option(
            "--give-up",
            metavar="BATCH",
            help="Write a batch off, by its id or its file: its requests are written again.",
        ),
    ] = None,
) -> None:
    """Fetch and read the answers of the batches that have ended. It can be run again and again."""
    from factory.batch.collecting import collect, give_up

    if given_up is not None:
        give_up(lake, given_up, Console())
        return
    collect(lake, at_lake(lake), Console(), wait=wait)
