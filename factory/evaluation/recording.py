"""Figures of a run of purpose evaluation as rows of `evaluations`."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from factory.evaluation import comparing, figures
from factory.evaluation.figures import METRICS, answers_of, figure
from factory.evaluation.rows import Measured, prompts_hash, row_of, stored
from factory.verifier.checkers import checkers_hash
from schemas.errors import FactoryError
from schemas.tables import Evaluation, Run
from stores.lake import Lake
from stores.sql import sql


def record(lake: Lake, run_id: str, benchmark: str, role: str | None, seen_in: Sequence[str] = ()) -> list[Evaluation]:
    """Computes the figures of a finished run and adds them to the lake; repeating it adds nothing.

    Args:
        seen_in: runs whose prompts' kinds of constraints count as seen: each figure is then also given of the constraints
            of seen and of unseen kinds, as in `instruction_loose_unseen`.
    Raises:
        FactoryError: some prompts were set aside, so the figures would be of the others only.
    """
    check_whole(lake, run_id)
    measured = _measured(lake, run_id, benchmark, role)
    answers = answers_of(lake, run_id)
    rows = [row_of(measured, metric, figure(metric, answers)) for metric in METRICS]
    if seen_in:
        kinds = kinds_of_runs(lake, seen_in)
        of_kinds = replace(measured, depends_on={"seen_kinds": kinds})
        for word, among in (("seen", True), ("unseen", False)):
            answers = answers_of(lake, run_id, kinds, among)
            rows += [row_of(of_kinds, f"{metric}_{word}", figure(metric, answers)) for metric in METRICS]
    return stored(lake, rows)


def compare(lake: Lake, one: Sequence[Evaluation], other: Sequence[Evaluation]) -> list[Evaluation]:
    """What the first model has more than the other on the same prompts; adds the rows to the lake.

    Args:
        one, other: what `record` returned for each.
    Raises:
        FactoryError: the two were not measured on the same prompts by the same checkers, or are one model in one run.
    """
    first, second = one[0], other[0]
    assert first.run_id is not None and second.run_id is not None
    if first.run_id == second.run_id:
        raise FactoryError("both are the same model, as far as its name tells: give two")
    if first.checkers_hash != second.checkers_hash:
        raise FactoryError(
            "the two models' answers were checked by different versions of the checkers: measure both again in a new lake"
        )
    answers, others = answers_of(lake, first.run_id), answers_of(lake, second.run_id)
    measured = replace(
        _measured(lake, first.run_id, first.benchmark, first.role),
        other_model_id=second.model_id,
        depends_on={"other_run_id": second.run_id, "test": comparing.TESTS},
    )
    differences = {metric: comparing.difference(metric, answers, others) for metric in METRICS}
    return stored(lake, [row_of(measured, metric, found, p_value) for metric, (found, p_value) in differences.items()])


def kinds_of_runs(lake: Lake, run_ids: Sequence[str]) -> list[str]:
    """The kinds of constraints in the prompts that runs took, sorted."""
    kinds: list[str] = lake.query(sql("evaluation/kinds_of_runs"), {"run_ids": list(run_ids)}).column(0).to_pylist()
    return kinds


def _measured(lake: Lake, run_id: str, benchmark: str, role: str | None) -> Measured:
    in_current = "run_event_id IN (SELECT run_event_id FROM current_runs WHERE run_id = $id)"
    [run] = lake.read(Run, in_current, {"id": run_id})
    asked = lake.query("SELECT DISTINCT model_id FROM calls WHERE run_id = $id ORDER BY model_id", {"id": run_id})
    models = asked.column(0).to_pylist()
    if len(models) != 1:
        raise FactoryError(f"run {run_id} was answered by {len(models)} models: the figures would be of none of them")
    sample = next(stage for stage in msgspec.json.decode(run.recipe)["stages"] if stage["stage"] == "sample")
    sampling = {name: sample[name] for name in ("n", "temperature", "top_p", "max_tokens")}
    return Measured(
        run_id=run_id,
        model_id=models[0],
        role=role,
        benchmark=benchmark,
        prompts_hash=prompts_hash(lake, run_id),
        seed=run.seed,
        settings={"sampling": sampling, "interval": figures.HOW},
        checkers_hash=checkers_hash(),
    )


def check_whole(lake: Lake, run_id: str) -> None:
    """Raises:
    FactoryError: some prompts of the run were set aside, so its figures would be of the others only.
    """
    failed = lake.query("SELECT prompt_id, error FROM failed_prompts WHERE run_id = $run_id", {"run_id": run_id})
    if failed.num_rows:
        raise FactoryError(
            f"{failed.num_rows} prompts of run {run_id} have no answer, so there are no figures: ask them again with "
            f"`factory resume {run_id} --retry-set-aside`, then repeat the command; the first: "
            f"{failed.column('error')[0].as_py()}"
        )
