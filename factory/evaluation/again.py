"""Judges a run's answers again by another judge, in a run of its own, and tells what changed."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from factory.evaluation.agreement import kappa
from factory.evaluation.figures import Figure
from factory.evaluation.intervals import bootstrapped, share
from factory.evaluation.judging import Run, settings_of, whole
from factory.evaluation.recipes import MODEL, VERIFIER, again_recipe
from factory.evaluation.rows import Measured, model_asked, prompts_hash, record
from factory.inference.settings import ModelSettings
from factory.runs.specification import RunSpecification
from factory.verifier.checkers import checkers_hash
from schemas.errors import FactoryError, nearest
from stores.lake import Lake
from stores.sql import sql

KINDS = ["sampled", "refined", "resampled", "reference", "imported"]
WORDS = {True: "passes", False: "fails", None: "undecided"}


@dataclass(frozen=True, slots=True)
class Earlier:
    """The judge whose verdicts are looked at again."""

    run_id: str
    judge: str | None
    """None: for each response the one that decides"""
    model_id: str | None
    """None: a program, several, or an imported verdict"""
    answers_of: str
    """the run whose responses it judged"""


@dataclass(frozen=True, slots=True)
class Change:
    """An answer's verdict before and after."""

    prompt_id: str
    response_id: str
    before: bool | None
    after: bool | None


@dataclass(frozen=True, slots=True)
class JudgedAgain:
    """What another judge says."""

    run_id: str
    earlier: Earlier
    judge: str
    changes: list[Change]
    """one for each answer that both judged, changed or not"""
    figures: dict[str, Figure]

    @property
    def table(self) -> Counter[tuple[bool | None, bool | None]]:
        """How many answers went from one verdict to another."""
        return Counter((one.before, one.after) for one in self.changes)

    @property
    def flipped(self) -> list[Change]:
        return [one for one in self.changes if one.before != one.after]


def earlier_judge(lake: Lake, beginning: str, judge: str | None) -> Earlier:
    """The run with this id, or the one whose id begins so, and its judge: the deciding one, unless another is named.

    Raises:
        FactoryError: no such run, or several; it has no verdicts, or no judge of this name.
    """
    runs = lake.query(
        "SELECT run_id, recipe FROM current_runs WHERE starts_with(run_id, $id) ORDER BY run_id", {"id": beginning}
    ).to_pylist()
    exact = [run for run in runs if run["run_id"] == beginning] or runs
    if len(exact) != 1:
        fault = "no run matches" if not exact else "more than one run matches"
        raise FactoryError(f"{fault} {beginning!r} in lake {lake.place.where}: `factory status` lists the runs")
    run_id, recipe = exact[0]["run_id"], json.loads(exact[0]["recipe"])
    judges = lake.query(
        "SELECT judge, bool_or(decides) AS decides, any_value(model_id) AS model_id FROM judgements WHERE run_id = $id "
        "AND (verdict IS NOT NULL OR pass_points IS NOT NULL) GROUP BY judge ORDER BY judge",
        {"id": run_id},
    ).to_pylist()
    if not judges:
        raise FactoryError(
            f"run {run_id} has no verdicts to compare with: judge its answers first, as `factory run` does"
        )
    names = [row["judge"] for row in judges]
    if judge is not None and judge not in names:
        raise FactoryError(f"run {run_id} has no judge {judge!r}: {nearest(judge, names, 'it has')}")
    meant = [row for row in judges if (row["decides"] if judge is None else row["judge"] == judge)]
    answers = recipe.get("answers") or {}
    if len(meant) == 1:
        return Earlier(run_id, meant[0]["judge"], meant[0]["model_id"], answers.get("run", run_id))
    return Earlier(run_id, None, None, answers.get("run", run_id))


def judge_again(
    lake: Lake,
    earlier: Earlier,
    judge: ModelSettings | None,
    reasons: bool,
    overrides: Mapping[str, Any],
    seed: int,
    run: Run,
) -> JudgedAgain:
    """Judges the same answers by another judge; the earlier rows stay as they are.

    Args:
        judge: a model; None: the verifier.
        reasons: whether the model gives its reasons first.
    """
    recipe = again_recipe(judge, earlier.answers_of, KINDS, reasons, overrides)
    run_id = whole(lake, run(RunSpecification(recipe, seed)))
    name = VERIFIER if judge is None else MODEL
    given = {"run_id": run_id, "judge": name, "of_run_id": earlier.run_id, "of_judge": earlier.judge}
    rows = lake.query(sql("report/verdict_pairs"), given).to_pylist()
    changes = [Change(**row) for row in rows]
    figures = again_figures([(one.before, one.after) for one in changes])
    # Where the verifier judges again, the earlier model is what is measured.
    models = [None if judge is None else model_asked(lake, run_id, "judge"), earlier.model_id]
    if measured_ids := [id for id in models if id is not None]:
        measured = Measured(
            run_id=run_id,
            model_id=measured_ids[0],
            role="judge",
            benchmark="judge again",
            prompts_hash=prompts_hash(lake, run_id),
            checkers_hash=checkers_hash() if judge is None else None,
            other_model_id=next(iter(measured_ids[1:]), None),
            settings=settings_of(recipe, before={"run": earlier.run_id, "judge": earlier.judge}),
            seed=seed,
        )
        record(lake, measured, figures)
    return JudgedAgain(run_id, earlier, name, changes, figures)


def again_figures(verdicts: Sequence[tuple[bool | None, bool | None]]) -> dict[str, Figure]:
    """Figures of two judges, before and after, on the same answers: agreement and kappa where both decided."""
    decided = [(before, after) for before, after in verdicts if before is not None and after is not None]
    return {
        "agreement": share(sum(before == after for before, after in decided), len(decided)),
        "kappa": bootstrapped(decided, kappa),
        "pass_rate": share(sum(after for _, after in decided), len(decided)),
        "pass_rate_before": share(sum(before for before, _ in decided), len(decided)),
        "undecided": share(sum(after is None for _, after in verdicts), len(verdicts)),
    }
