"""`factory evaluate`: measures a model on a benchmark, or compares two on the same prompts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from factory.cli.options import (
    LakeOption,
    LimitOption,
    LogFormatOption,
    ModelNameOption,
    OverrideOption,
    PromptsOption,
    SeedOption,
    assignments,
)
from schemas.errors import FactoryError, Stopped

MODEL_STARTS = ("embedded:", "vllm:", "http://", "https://")
BENCHMARK = "ifbench"
"""what two models are compared on, unless it is said"""


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
    allow_overlap: bool
    by_kind: bool
    of_judges: "OfJudges"


@dataclass(frozen=True, slots=True)
class OfJudges:
    """What only `evaluate judge` and `evaluate refine` take."""

    actor: str | None = None
    judge: str | None = None
    prompts: str | None = None
    labelled: Path | None = None
    reasons: bool | None = None
    """None: unless the judge is embedded"""


Measure = Callable[[Asked], None]


def evaluate(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="WHAT...",
            help="ifeval, ifbench, bundled, a file in IFEval's format or datasets:ID; two models are compared on it. Or judge "
            "(the model as a judge), refine (as a refiner).",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="The model measured: embedded:NAME (or a file or folder of weights), vllm:FOLDER or a base URL."
        ),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="A second model on the same prompts; the table shows the first minus the second.")
    ] = None,
    model_name: ModelNameOption = None,
    lake: LakeOption = "lake",
    limit: LimitOption = None,
    seed: SeedOption = 0,
    format: Annotated[str, typer.Option("--format", "-f", help="table or json.")] = "table",
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Also measure on prompts that the lake's data were made from.")
    ] = False,
    by_kind: Annotated[
        bool, typer.Option("--by-kind", help="Also show how often each kind of constraint is followed.")
    ] = False,
    actor: Annotated[
        str | None,
        typer.Option(help="judge, refine: the model whose answers are judged; by default, the one measured."),
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="refine: the model that judges the refinements; by default, the verifier.")
    ] = None,
    prompts: PromptsOption = None,
    labelled: Annotated[
        Path | None,
        typer.Option(
            help="judge: a file of pairs with input, output_1, output_2 and label (1 or 2), asked in both orders, instead of "
            "an actor's answers."
        ),
    ] = None,
    reasons: Annotated[
        bool | None,
        typer.Option(help="judge, refine: whether models give reasons first; by default, all but embedded ones."),
    ] = None,
    log_format: LogFormatOption = None,
    override: OverrideOption = None,
) -> None:
    """Measure a model on a benchmark, with 95% intervals; or two models, paired. Repeat the command to continue.

    The answers are a run of recipe `evaluate`, which `factory build` leaves out.
    """
    words = tuple(word for word in what if not word.startswith(MODEL_STARTS))
    models = tuple(word for word in (*what, model, against) if word and word not in words)
    if format not in ("table", "json"):
        raise FactoryError(f"there is no format {format!r}: give table or json")
    of_judges = OfJudges(actor, judge, prompts, labelled, reasons)
    asked = Asked(
        words, models, model_name, lake, limit, seed, format, log_format, override, allow_overlap, by_kind, of_judges
    )
    measure = KINDS.get(words[0] if words else "", _benchmark)
    if measure is _benchmark and of_judges != OfJudges():
        raise FactoryError(
            "--actor, --judge, --prompts, --labelled and --reasons are of `factory evaluate judge` and `factory evaluate "
            "refine`: leave them out"
        )
    measure(asked)


def _benchmark(asked: Asked) -> None:
    """Measures one model, or compares two, on a benchmark that a program checks."""
    from factory.evaluation.figures import by_kind
    from factory.evaluation.recording import compare
    from factory.monitor.console import Console
    from factory.monitor.evaluations import as_json, print_conditions, print_figures
    from factory.monitor.table import table_of
    from stores.lake import Lake

    if len(asked.words) > 1 or not 1 <= len(asked.models) <= 2 or (not asked.words and len(asked.models) == 1):
        raise FactoryError(
            "give one benchmark and one or two models, as in `factory evaluate ifbench --model embedded:smollm2-135m`, or "
            "two models"
        )
    benchmark = asked.words[0] if asked.words else BENCHMARK
    with Lake.open(asked.lake, create=True) as opened:
        found = [_measure(opened, benchmark, model, asked) for model in asked.models]
        tables = [(f"{model} on {benchmark}", rows) for model, rows in zip(asked.models, found, strict=True)]
        if len(found) == 2:
            tables.append((f"{asked.models[0]} minus {asked.models[1]}, points", compare(opened, *found)))
        kinds = [by_kind(opened, rows[0].run_id) for rows in found] if asked.by_kind else []
    if asked.format == "json":
        typer.echo(as_json([row for _, rows in tables for row in rows]))
        return
    console = Console()
    for title, rows in tables:
        print_figures(title, rows, console)
        console.print()
    for of_model in kinds:
        table_of(of_model, console, of_model.num_rows)
        console.print()
    print_conditions(tables[0][1], console)


def _measure(lake: Any, benchmark: str, model: str, asked: Asked) -> Any:
    """The rows of one model's figures; shows the run meanwhile."""
    from rich.text import Text

    from factory.evaluation.measuring import Options, run_benchmark
    from factory.monitor.console import Console
    from factory.monitor.display import watch
    from factory.monitor.plain_text import visible
    from factory.runs.progress import Progress

    progress = Progress()
    options = Options(overrides=assignments(asked.override), allow_overlap=asked.allow_overlap)
    settings = model_settings(model, asked.model_name)
    try:
        with watch(progress, asked.log_format):
            rows = run_benchmark(lake, benchmark, settings, "actor", asked.seed, progress, asked.limit, options=options)
    except KeyboardInterrupt:
        raise Stopped("stopped; no answer is lost: continue with the same command") from None
    for note in progress.notes:
        Console(stderr=True).print(Text(f"note: {visible(note)}", "yellow"), soft_wrap=True)
    return rows


def model_settings(model: str, name: str | None = None) -> Any:
    """The settings of a model as the command line names it.

    Raises:
        FactoryError: it is neither embedded:NAME, vllm:FOLDER nor a base URL.
    """
    from factory.inference.settings import ModelSettings, VllmSettings

    try:
        if model.startswith("vllm:"):
            return ModelSettings(vllm=VllmSettings(model=model.removeprefix("vllm:")), name=name)
        return ModelSettings(endpoint=(model,), name=name)
    except ValueError as error:
        raise FactoryError(f"--model {model}: {error}") from None


def _judge(asked: Asked) -> None:
    from factory.cli.judging import measure_judge

    measure_judge(asked)


def _refine(asked: Asked) -> None:
    from factory.cli.judging import measure_refiner

    measure_refiner(asked)


KINDS: dict[str, Measure] = {"judge": _judge, "refine": _refine}
"""What is measured otherwise, by its first word: `judge`, `refine`."""
