"""`factory run` and `factory resume`."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from factory.cli.looping import run_loop_and_report
from factory.cli.options import (
    Choices,
    ExecutorOption,
    GpusOption,
    JudgeOption,
    LakeOption,
    LimitOption,
    LogFormatOption,
    ModelNameOption,
    ModelOption,
    OverrideOption,
    PromptsOption,
    RayAddressOption,
    RecipeArgument,
    SeedOption,
    WorkersOption,
    assignments,
    specification,
    to_type,
)
from factory.monitor.console import Console
from schemas.errors import FactoryError, Stopped, nearest


def run(
    recipe: RecipeArgument = "spar",
    lake: LakeOption = "lake",
    prompts: PromptsOption = None,
    limit: LimitOption = None,
    model: ModelOption = None,
    model_name: ModelNameOption = None,
    judge: JudgeOption = None,
    seed: SeedOption = 0,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ask everything again, even what the journal can answer.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask only 20 of the prompts, and estimate what all would take.")
    ] = False,
    log_format: LogFormatOption = None,
    executor: ExecutorOption = "local",
    workers: WorkersOption = 2,
    ray_address: RayAddressOption = None,
    gpus_per_worker: GpusOption = 0,
    override: OverrideOption = None,
) -> None:
    """Run a recipe: answers, judgements, trees and pairs go into the lake. To continue a stopped run, repeat the command."""
    spec = specification(recipe, Choices(prompts, limit, model, model_name, judge, seed, override))
    if dry_run:
        from factory.monitor.display import watch
        from factory.monitor.estimate import estimate, print_estimate
        from factory.runs.progress import Progress

        progress = Progress()
        with watch(progress, log_format):
            estimated = estimate(spec, lake, progress)
        print_estimate(estimated, Console())
        return
    if fresh:
        from factory.runs.specification import asked_afresh

        spec = asked_afresh(spec, lake)
    _run(spec, lake, log_format, _execution(executor, workers, ray_address, gpus_per_worker))


def resume(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The id of a run or loop, or a prefix of it.")],
    lake: LakeOption = "lake",
    log_format: LogFormatOption = None,
    executor: ExecutorOption = "local",
    workers: WorkersOption = 2,
    ray_address: RayAddressOption = None,
    gpus_per_worker: GpusOption = 0,
    retry_set_aside: Annotated[
        bool, typer.Option("--retry-set-aside", help="Retry what was set aside: prompts, votes and refinements.")
    ] = False,
    override: OverrideOption = None,
) -> None:
    """Continue a stopped run or loop; nothing already answered is asked again.

    Only settings that no answer depends on may change, such as endpoints and budgets (-o budget.max_requests=1000).
    """
    from factory.loops.forking import find_loop
    from factory.loops.reading import resumed
    from factory.runs.specification import specification_of
    from stores.lake import Lake

    with Lake.open(lake) as opened:
        row = find_loop(opened, run_id)
        runs = opened.query("SELECT run_id FROM current_runs WHERE starts_with(run_id, $id)", {"id": run_id}).num_rows
        if row is None and not runs:
            ids = "SELECT loop_id, started_at FROM current_loops UNION ALL SELECT run_id, started_at FROM current_runs"
            known = opened.query(f"FROM ({ids}) ORDER BY started_at").column(0).to_pylist()
            raise FactoryError(
                f"no run or loop matches {run_id!r} in lake {lake}: {nearest(run_id, known, 'it has') if known else 'it has none'}"
            )
        if row is not None and runs:
            raise FactoryError(f"{run_id!r} begins the ids of a loop and of runs: give more of it, as {row.loop_id}")
        if row is not None:
            run_loop_and_report(resumed(row, assignments(override)), lake, log_format)
            return
        spec = specification_of(opened, run_id, assignments(override))
    execution = _execution(executor, workers, ray_address, gpus_per_worker)
    _run(spec, lake, log_format, replace(execution, retry_set_aside=retry_set_aside))


def _execution(executor: str, workers: int, ray_address: str | None, gpus_per_worker: float) -> Any:
    """How the run executes: in this process or on Ray."""
    from factory.monitor.telemetry import exporting
    from factory.runs.loop import Execution

    if executor == "local":
        return Execution(observe=exporting)
    if executor != "ray":
        raise FactoryError(f"there is no executor {executor!r}: give local or ray")
    from factory.runs.ray_executor import Cluster, execute_on

    return Execution(execute_on(Cluster(workers, ray_address, gpus_per_worker)))


def _run(spec: Any, lake: str, log_format: str | None, execution: Any) -> None:
    from rich.text import Text

    from factory.inference.refusals import remedy_for
    from factory.monitor.display import watch
    from factory.monitor.plain_text import visible
    from factory.monitor.report import print_summary
    from factory.runs.loop import run_on
    from factory.runs.progress import Progress
    from factory.view.in_terminal import SHOW
    from stores.lake import Lake

    progress = Progress()
    with Lake.open(lake, create=True) as opened:
        try:
            with watch(progress, log_format):
                run_id = run_on(opened, spec, progress, execution)
        except KeyboardInterrupt:
            if not progress.run_id:
                raise Stopped("stopped before anything was asked: run the same command again") from None
            said = "stopped; no answer is lost: continue with `factory resume`"
            raise Stopped(to_type(said, progress.run_id, lake)) from None
        except FactoryError as error:
            raise FactoryError(to_type(str(error), progress.run_id, lake)) from error
        print_summary(opened, run_id, Console(), SHOW)
    for note in progress.notes:  # the live display that showed them is gone
        Console().print(Text(f"note: {visible(note)}", "yellow"), soft_wrap=True)
    if progress.set_aside:
        first = progress.set_aside[0]
        said = (
            f"{len(progress.set_aside)} of {progress.prompts} prompts could not be answered or judged in full and were set "
            f"aside; the first is {first} ({remedy_for(first)})"
        )
        raise FactoryError(to_type(said, progress.run_id, lake))
