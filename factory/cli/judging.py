"""`factory evaluate judge`, `factory evaluate refine` and `factory judge --again`: judges and refiners measured."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from factory.cli.options import (
    LakeOption,
    LimitOption,
    LogFormatOption,
    ModelNameOption,
    OverrideOption,
    SeedOption,
    assignments,
)
from schemas.errors import FactoryError, Stopped

if TYPE_CHECKING:
    from factory.cli.evaluating import Asked

VERIFIER = "verifier"


def judge(
    again: Annotated[
        str, typer.Option(metavar="RUN", help="The run whose answers are judged again: its id or a prefix.")
    ],
    model: Annotated[
        str | None, typer.Option(help="The model that judges: embedded:NAME (or weights), vllm:FOLDER or a base URL.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="verifier: the program judges instead of a model.")] = None,
    of: Annotated[
        str | None, typer.Option(help="The run's judge to compare with; by default, the one that decided.")
    ] = None,
    model_name: ModelNameOption = None,
    reasons: Annotated[
        bool | None, typer.Option(help="Whether the model gives reasons first; by default, unless it is embedded.")
    ] = None,
    lake: LakeOption = "lake",
    limit: LimitOption = None,
    seed: SeedOption = 0,
    rows: Annotated[int, typer.Option(min=0, help="Maximum flipped answers to show.")] = 20,
    format: Annotated[str, typer.Option("--format", "-f", help="table or json.")] = "table",
    log_format: LogFormatOption = None,
    override: OverrideOption = None,
) -> None:
    """Judge a run's answers again with another judge, and show what changed. Its verdicts are a run of their own."""
    from factory.cli.evaluating import model_settings
    from factory.evaluation.again import earlier_judge, judge_again
    from factory.evaluation.recipes import reasons_by_default
    from factory.monitor.console import Console
    from factory.monitor.judged import again_as_json, print_again
    from stores.lake import Lake

    if format not in ("table", "json"):
        raise FactoryError(f"there is no format {format!r}: give table or json")
    if by not in (None, VERIFIER) or (model is None) == (by is None):
        raise FactoryError("give one judge: --model for a model, or --by verifier for the program")
    settings = None if model is None else model_settings(model, model_name)
    gives_reasons = reasons_by_default(settings) if reasons is None and settings else bool(reasons)
    changes = assignments(override) | ({} if limit is None else {"prompts.limit": limit})
    with Lake.open(lake, create=True) as opened:
        earlier = earlier_judge(opened, again, of)
        run = carrier(opened, log_format)
        found = judge_again(opened, earlier, settings, gives_reasons, changes, seed, run)
        if format == "json":
            typer.echo(again_as_json(found))
        else:
            print_again(opened, found, rows, Console())


def measure_judge(asked: "Asked") -> None:
    """`factory evaluate judge`."""
    from factory.cli.importing import telling
    from factory.evaluation.judging import evaluate_judge, evaluate_labelled
    from factory.evaluation.labelled import imported, read_labelled
    from factory.evaluation.recipes import judge_recipe, labelled_recipe, reasons_by_default
    from stores.lake import Lake

    settings, given = _model(asked, "judge"), asked.of_judges
    reasons = reasons_by_default(settings) if given.reasons is None else given.reasons
    if given.labelled is None:
        actor = _other(given.actor) or settings
        recipe = judge_recipe(settings, actor, reasons, _overrides(asked))
        with Lake.open(asked.lake, create=True) as opened:
            rows = evaluate_judge(opened, recipe, asked.seed, carrier(opened, asked.log_format))
        _show(f"{asked.models[0]} as a judge, the verifier's verdicts being the truth", rows, asked)
        return
    if given.actor is not None or given.prompts is not None:
        raise FactoryError("--labelled has prompts and answers of its own: leave out --actor and --prompts")
    file = read_labelled(given.labelled)
    with telling() as tell:
        file = imported(file, asked.lake, tell)
    recipe = labelled_recipe(settings, file.run_id, reasons, _overrides(asked))
    with Lake.open(asked.lake, create=True) as opened:
        rows = evaluate_labelled(opened, file, recipe, asked.seed, carrier(opened, asked.log_format))
    _show(f"{asked.models[0]} as a judge of the pairs in {file.name}, in both orders", rows, asked)


def measure_refiner(asked: "Asked") -> None:
    """`factory evaluate refine`."""
    from factory.evaluation.recipes import reasons_by_default, refine_recipe
    from factory.evaluation.refining import SELF_JUDGE, evaluate_refine, is_self_judge
    from stores.lake import Lake

    settings, given = _model(asked, "refine"), asked.of_judges
    if given.labelled is not None:
        raise FactoryError("--labelled is of `factory evaluate judge`: leave it out")
    judge = None if given.judge in (None, VERIFIER) else _other(given.judge)
    reasons = reasons_by_default(judge) if given.reasons is None and judge else bool(given.reasons)
    reflects = reasons_by_default(settings) if given.reasons is None else given.reasons
    recipe = refine_recipe(settings, _other(given.actor) or settings, not reflects, _overrides(asked))
    if judge is not None and is_self_judge(recipe, judge):
        _note(SELF_JUDGE)
    with Lake.open(asked.lake, create=True) as opened:
        rows = evaluate_refine(opened, recipe, judge, reasons, asked.seed, carrier(opened, asked.log_format))
    _show(f"{asked.models[0]} as a refiner, judged by {given.judge or 'the verifier'}", rows, asked)


def _model(asked: "Asked", what: str) -> Any:
    from factory.cli.evaluating import model_settings

    if len(asked.models) != 1 or len(asked.words) > 1:
        raise FactoryError(f"give one model, as in `factory evaluate {what} --model embedded:smollm2-135m`")
    return model_settings(asked.models[0], asked.model_name)


def _other(model: str | None) -> Any:
    from factory.cli.evaluating import model_settings

    return None if model is None else model_settings(model)


def _overrides(asked: "Asked") -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if asked.of_judges.prompts is not None:
        changes |= {"prompts.source": asked.of_judges.prompts, "prompts.language": None, "prompts.limit": None}
    if asked.limit is not None:
        changes["prompts.limit"] = asked.limit
    return changes | assignments(asked.override)


def carrier(lake: Any, log_format: str | None) -> Any:
    """Carries out an evaluation's runs, and shows them meanwhile."""
    from factory.monitor.display import watch
    from factory.monitor.telemetry import exporting
    from factory.runs.loop import Execution, run_on
    from factory.runs.progress import Progress

    def run(spec: Any) -> str:
        progress = Progress()
        try:
            with watch(progress, log_format):
                run_id = run_on(lake, spec, progress, Execution(observe=exporting))
        except KeyboardInterrupt:
            raise Stopped("stopped; no answer is lost: continue with the same command") from None
        for note in progress.notes:
            _note(note)
        return run_id

    return run


def _note(said: str) -> None:
    from rich.text import Text

    from factory.monitor.console import Console
    from factory.monitor.plain_text import visible

    Console(stderr=True).print(Text(f"note: {visible(said)}", "yellow"), soft_wrap=True)


def _show(title: str, rows: Any, asked: "Asked") -> None:
    from factory.monitor.console import Console
    from factory.monitor.evaluations import as_json
    from factory.monitor.judged import print_judged

    if asked.format == "json":
        typer.echo(as_json(rows))
    else:
        print_judged(title, rows, Console())
