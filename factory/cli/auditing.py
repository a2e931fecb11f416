"""The command that audits a training set."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from factory.cli.options import LakeOption, ThresholdOption, thresholds
from factory.monitor.console import Console
from schemas.errors import FactoryError

if TYPE_CHECKING:
    from factory.audit.finding import Finding


def audit(
    name: Annotated[
        str, typer.Argument(metavar="SET", help="A training set, such as spar_dpo@1; without a version, the newest.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Also check the rows with this model's chat template and tokenizer: a folder, .gguf or embedded:NAME."
        ),
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The trainer's limit; by default, its default.")] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET", help="Evaluation sets to look for: ifeval, ifbench or a file; by default, the cached ones."
        ),
    ] = None,
    threshold: ThresholdOption = None,
    format: Annotated[str, typer.Option("--format", "-f", help="table or json.")] = "table",
    html: Annotated[Path | None, typer.Option(help="Also write a page with plots to this file.")] = None,
    second_judge: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Also ask another judge (--judge) about N pairs, in both orders."),
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="The other judge: embedded:NAME, vllm:FOLDER or a base URL.")
    ] = None,
    all_checks: Annotated[bool, typer.Option("--all", help="Also show in full the checks that pass.")] = False,
    lake: LakeOption = "lake",
) -> None:
    """Audit a training set: is the data fit to train on? Exits with 1 if a check fails. Only --second-judge calls a model."""
    from factory.audit.audit import Options, audit_training_set
    from factory.audit.checks import check_names, default_thresholds, stricter
    from factory.monitor.audit import print_audit, telling, write_page
    from factory.runs.audit_settings import settings_of_set
    from stores.lake import Lake
    from stores.training_sets import find_training_set

    if format not in ("table", "json"):
        raise FactoryError(f"there is no format {format!r}: give table or json")
    if (second_judge is None) != (judge is None):
        raise FactoryError("--second-judge N and --judge MODEL go together: give both")
    check_names(given := thresholds(threshold), "--threshold")
    with Lake.open(lake) as opened, telling() as tell:
        # A lake's recipe may ask for more than is usual, never for less: it may be somebody else's.
        theirs = settings_of_set(opened, find_training_set(opened, name)).thresholds
        usual = {check: value for check, value in default_thresholds().items() if check in theirs}
        limits = {**stricter(usual, theirs), **given}
        options = Options(limits, model, max_tokens, None if against is None else tuple(against))
        report = audit_training_set(opened, name, options, tell)
    if second_judge is not None:
        report = replace(report, findings=(*report.findings, _asked(lake, name, second_judge, str(judge))))
    if format == "json":
        import json

        typer.echo(json.dumps(report.plain(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print_audit(report, Console(), full=all_checks)
    if html is not None:
        write_page(report, html, Console(stderr=True))
    if report.failed:
        raise typer.Exit(1)


def _asked(lake: str, name: str, count: int, model: str) -> "Finding":
    """What another judge says of the set's pairs."""
    from factory.cli.evaluating import model_settings
    from factory.cli.judging import carrier
    from factory.evaluation.recipes import reasons_by_default
    from factory.evaluation.second_judge import ask_second_judge
    from stores.lake import Lake
    from stores.training_sets import read_training_set

    settings = model_settings(model, None)
    with Lake.open(lake, create=True) as opened:
        built = read_training_set(opened, name)
        return ask_second_judge(opened, built, settings, count, reasons_by_default(settings), carrier(opened, None))
