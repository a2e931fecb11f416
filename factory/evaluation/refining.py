"""Measures a model as a refiner: which share of failing answers it fixes, by another judge, and how much it changes.

A refiner that judges itself flatters itself: SPaR's own judge accepted 90.5% of its refinements, GPT-4o 79.0%
(arXiv:2412.11605).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from factory.evaluation.figures import Figure
from factory.evaluation.intervals import mean, share
from factory.evaluation.judging import Run, fresh_seed, settings_of, whole
from factory.evaluation.recipes import MODEL, again_recipe
from factory.evaluation.rows import Measured, model_asked, prompts_hash, record
from factory.inference.settings import ModelSettings
from factory.recipes.recipe import Recipe
from factory.runs.specification import RunSpecification
from factory.verifier.checkers import checkers_hash
from schemas.errors import FactoryError
from schemas.tables import Evaluation
from stores.lake import Lake
from stores.likeness import likeness
from stores.sql import sql


@dataclass(frozen=True, slots=True)
class Refinement:
    """A failed answer and what a refiner made of it."""

    failed: str
    refined: str | None
    """None: its output could not be read"""
    flaw: str | None
    by_verifier: bool | None
    """whether the verifier passes it"""
    by_judge: bool | None
    """whether the judge passes it; None: undecided"""


def evaluate_refine(
    lake: Lake, recipe: Recipe, judge: ModelSettings | None, reasons: bool, seed: int, run: Run
) -> list[Evaluation]:
    """A refiner's share of failing answers that it fixes.

    Args:
        recipe: of `refine_recipe`.
        judge: the model that judges the refinements; None: the verifier.
        reasons: whether that model gives its reasons first.
    Returns:
        See `refine_figures`; setting `self_judge` says whether the judge is the refiner.
    Raises:
        FactoryError: no answer failed.
    """
    run_id = whole(lake, run(RunSpecification(recipe, fresh_seed(seed))))
    rows = lake.query(sql("report/refinements"), {"run_id": run_id}).to_pylist()
    if not rows:
        raise FactoryError(
            f"no answer of run {run_id} failed, so there is nothing to refine: take more prompts (--limit) or another --actor"
        )
    said: dict[str, bool | None] = {}
    judge_id = None
    if judge is not None and any(row["refined"] is not None for row in rows):
        again = again_recipe(judge, run_id, ["refined"], reasons, {})
        judged = whole(lake, run(RunSpecification(again, fresh_seed(seed))))
        judge_id = model_asked(lake, judged, "judge")
        given = {"id": judged, "judge": MODEL}
        verdicts = lake.query("SELECT response_id, passed FROM verdicts WHERE run_id = $id AND judge = $judge", given)
        said = {row["response_id"]: row["passed"] for row in verdicts.to_pylist()}
    refinements = [
        Refinement(
            row["failed"],
            row["refined"],
            row["flaw"],
            row["passed"],
            row["passed"] if judge is None else said.get(row["response_id"]),
        )
        for row in rows
    ]
    refiner_id = model_asked(lake, run_id, "refiner")
    answers = lake.query(
        "SELECT count(*) FROM verdicts JOIN responses USING (response_id) WHERE verdicts.run_id = $id AND decides "
        "AND responses.kind = 'sampled' AND passed IS NOT NULL",
        {"id": run_id},
    )
    figures = refine_figures(refinements, answers.column(0)[0].as_py(), of_model=judge is not None)
    measured = Measured(
        run_id=run_id,
        model_id=refiner_id,
        role="refiner",
        benchmark="refine",
        prompts_hash=prompts_hash(lake, run_id),
        checkers_hash=checkers_hash(),
        judge_model_id=judge_id,
        settings=settings_of(recipe, actor=model_asked(lake, run_id, "actor"), self_judge=judge_id == refiner_id),
        seed=seed,
    )
    return record(lake, measured, figures)


def refine_figures(refinements: Sequence[Refinement], answers: int, *, of_model: bool) -> dict[str, Figure]:
    """Figures of refinements, one for each failing answer.

    Args:
        answers: how many answers the failing ones are among.
        of_model: whether a model judged, beside the verifier.
    Returns:
        fixed: share of failing answers whose refinement has no flaw and passes the judge.
        fixed_by_verifier: the same by the verifier, if a model judged.
        undecided: share on which the judge reached no verdict; they are not fixed.
        unreadable, flawed: shares whose refinement could not be read, or has a flaw (cut off, an echo, unchanged, …).
        changed, changed_where_fixed: 1 - similarity to the failed answer, word by word: 0 unchanged, 1 nothing kept.
        failing: share of the actor's answers that failed.
    """
    n = len(refinements)
    whole = [one for one in refinements if one.refined is not None and one.flaw is None]
    fixed = [one for one in whole if one.by_judge]
    found = {"fixed": share(len(fixed), n)}
    if of_model:
        found["fixed_by_verifier"] = share(sum(bool(one.by_verifier) for one in whole), n)
    readable = [one for one in refinements if one.refined is not None]
    return {
        **found,
        "undecided": share(sum(one.by_judge is None for one in readable), n),
        "unreadable": share(n - len(readable), n),
        "flawed": share(sum(one.flaw is not None for one in readable), n),
        "changed": mean([_change(one) for one in readable]),
        "changed_where_fixed": mean([_change(one) for one in fixed]),
        "failing": share(n, answers),
    }


def _change(one: Refinement) -> float:
    return 1 - likeness(one.refined or "", one.failed).similarity


SELF_JUDGE = (
    "the refiner judges its own refinements, and a self-judge flatters (SPaR's accepted 90.5% where GPT-4o accepted 79.0%): "
    "give --judge another model, or verifier"
)


def is_self_judge(recipe: Recipe, judge: ModelSettings) -> bool:
    """Whether the judge is given as the same model as the recipe's refiner; the rows tell it by the models' ids."""
    return judge == recipe.models["refiner"]
