"""`factory batch`: writes requests for a batch service, and reads its answers."""

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
    help="Half the price: write requests for a batch service (OpenAI's format), and read its answers.",
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

    Leaves out stages that ask back and forth, such as search; run them live with `factory resume`.
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
