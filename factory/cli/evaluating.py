"""`factory evaluate`: measures a model on a benchmark, or compares two on the same prompts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer

from factory.cli.options import LakeOption, LimitOption, LogFormatOption, ModelNameOption, OverrideOption, SeedOption

MODEL_STARTS = ("embedded:", "vllm:", "http://", "https://")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for."""

    words: tuple[str, ...]
    """what follows `factory evaluate`, without the models among them"""
    models: tuple[str, ...]
    """the models measured: those among the words, then --model and --against"""
    model_name: str | None
    lake: str
    limit: int | None
    seed: int
    format: str
    log_format: str | None
    override: list[str] | None


Measure = Callable[[Asked], None]


def evaluate(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="WHAT...",
            help="ifeval, ifbench, bundled, a file in IFEval's format or datasets:ID; two models compare them on it.",
        ),
    ],
    model: Annotated[
        str | None, typer.Option(help="The model measured: embedded:NAME, a folder or file of weights, or a base URL.")
    ] = None,
    against: Annotated[str | None, typer.Option(help="A second model, on the same prompts: differences.")] = None,
    model_name: ModelNameOption = None,
    lake: LakeOption = "lake",
    limit: LimitOption = None,
    seed: SeedOption = 0,
    format: Annotated[str, typer.Option("--format", "-f", help="table or json.")] = "table",
    log_format: LogFormatOption = None,
    override: OverrideOption = None,
) -> None:
    """Measure a model on a benchmark, with 95% intervals; or two, paired."""
    words = tuple(word for word in what if not word.startswith(MODEL_STARTS))
    models = tuple(word for word in (*what, model, against) if word and word not in words)
    asked = Asked(words, models, model_name, lake, limit, seed, format, log_format, override)
    KINDS.get(words[0] if words else "", _benchmark)(asked)


def _benchmark(asked: Asked) -> None:
    """Measures one model, or compares two, on a benchmark that a program checks."""
    raise NotImplementedError


KINDS: dict[str, Measure] = {}
"""What is measured otherwise, by its first word: `judge`, `refine`."""
