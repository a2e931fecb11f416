"""Measures a model as a judge: against the verifier on fresh prompts, and against the labels of a file of pairs."""

from collections.abc import Callable
from typing import Any

import msgspec

from factory.evaluation.agreement import agreement_figures
from factory.evaluation.intervals import INTERVALS
from factory.evaluation.labelled import LabelledFile
from factory.evaluation.preferring import Asked, preference_figures
from factory.evaluation.recipes import COMPARE, MODEL, VERIFIER
from factory.evaluation.recording import check_whole
from factory.evaluation.rows import Measured, model_asked, prompts_hash, record
from factory.recipes.recipe import Recipe
from factory.runs.specification import RunSpecification
from factory.verifier.checkers import checkers_hash
from schemas.ids import seed_of
from schemas.tables import Comparison, Evaluation
from stores.lake import Lake
from stores.sql import sql

Run = Callable[[RunSpecification], str]
"""Carries out a run on the lake, or goes on with it, and returns its id."""


def evaluate_judge(lake: Lake, recipe: Recipe, seed: int, run: Run) -> list[Evaluation]:
    """A judge's agreement with the verifier on an actor's answers.

    Args:
        recipe: of `judge_recipe`.
        seed: the same gives the same prompts, if they are bundled, and answers.
    Returns:
        agreement, f1 (of finding the answers that pass), f1_failing, kappa, pass_rate, true_pass_rate (the verifier's),
        undecided.
    """
    run_id = whole(lake, run(RunSpecification(recipe, fresh_seed(seed))))
    figures = agreement_figures(verdict_pairs(lake, run_id, MODEL, run_id, VERIFIER))
    measured = Measured(
        run_id=run_id,
        model_id=model_asked(lake, run_id, "judge"),
        role="judge",
        benchmark="judge",
        prompts_hash=prompts_hash(lake, run_id),
        checkers_hash=checkers_hash(),
        settings=settings_of(recipe, actor=model_asked(lake, run_id, "actor")),
        seed=seed,
    )
    return record(lake, measured, figures)


def evaluate_labelled(lake: Lake, file: LabelledFile, recipe: Recipe, seed: int, run: Run) -> list[Evaluation]:
    """A judge against labels: which of two outputs is better, asked in both orders.

    Args:
        recipe: of `labelled_recipe`, on the answers of the file's import.
    Returns:
        See `preference_figures`.
    """
    run_id = whole(lake, run(RunSpecification(recipe, seed)))
    said = {
        (row.first_response_id, row.second_response_id): row.probability
        for row in lake.read(Comparison, "run_id = $id AND stage = $stage", {"id": run_id, "stage": COMPARE})
    }
    taken = set(
        lake.query("SELECT prompt_id FROM run_prompts WHERE run_id = $id", {"id": run_id}).column(0).to_pylist()
    )
    asked = [
        Asked(
            pair.label,
            said.get(pair.output_ids),
            said.get(pair.output_ids[::-1]),
            *pair.words,
        )
        for pair in file.pairs
        if pair.prompt_id in taken
    ]
    measured = Measured(
        run_id=run_id,
        model_id=model_asked(lake, run_id, "judge"),
        role="judge",
        benchmark=file.name,
        prompts_hash=file.sha256 if len(asked) == len(file.pairs) else prompts_hash(lake, run_id),
        settings=settings_of(recipe),
        seed=seed,
    )
    return record(lake, measured, preference_figures(asked))


def whole(lake: Lake, run_id: str) -> str:
    """The run's id.

    Raises:
        FactoryError: some prompts were set aside, so its figures would be of the others only.
    """
    check_whole(lake, run_id)
    return run_id


def fresh_seed(seed: int) -> int:
    """The seed of an evaluation's run: other bundled prompts and answers than those of a run with the same seed."""
    return seed_of("evaluation", seed)


def verdict_pairs(
    lake: Lake, run_id: str, judge: str, of_run_id: str, of_judge: str | None
) -> list[tuple[bool | None, bool | None]]:
    """Verdicts of another judge and of this one on the same responses."""
    given = {"run_id": run_id, "judge": judge, "of_run_id": of_run_id, "of_judge": of_judge}
    rows = lake.query(sql("report/verdict_pairs"), given).to_pylist()
    return [(row["before"], row["after"]) for row in rows]


def settings_of(recipe: Recipe, **more: Any) -> dict[str, Any]:
    """What an evaluation's row says of how it was made."""
    stages = [entry.plain(msgspec.to_builtins(entry.settings)) for entry in recipe.stages]
    return {"stages": stages, "intervals": INTERVALS, **more}
