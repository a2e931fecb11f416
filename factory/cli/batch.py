"""`factory batch`: requests as files for a batch service, and its answers read back."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

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

batch = typer.Typer(
    help="Half the price: requests as files for a batch service (OpenAI's format), and its answers read back.",
    no_args_is_help=True,
)


@batch.command("write")
def batch_write(
    out: Annotated[Path, typer.Option(help="File of the requests; numbered where one is not enough.")],
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
    """Write what a run would ask next as files for a batch service. Nothing is sent; answers read before become rows.

    A stage that asks back and forth, as the search does, is not written; it goes on live with `factory resume`.
    """
    from factory.batch.batches import write_and_report

    spec = specification(recipe, Choices(prompts, limit, model, model_name, judge, seed, override))
    write_and_report(spec, lake, out, at_lake(lake), Console())


@batch.command("read")
def batch_read(
    answers: Annotated[list[Path], typer.Argument(help="Files of answers and of errors, as the service gives them.")],
    lake: LakeOption = "lake",
) -> None:
    """Take a batch service's answers into the lake's journal. The same file again changes nothing."""
    from factory.batch.batches import read_and_report

    read_and_report(lake, answers, Console())
