"""What a loop measures of its judge or refiner after each round: against the verifier, on the same answers each time."""

from collections.abc import Mapping
from typing import Any

from factory.evaluation.judging import evaluate_judge
from factory.evaluation.recipes import judge_recipe, reasons_by_default, refine_recipe
from factory.evaluation.recording import check_whole
from factory.evaluation.refining import evaluate_refine
from factory.inference.settings import ModelSettings
from factory.runs.loop import Execution, run_on
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from schemas.tables import Evaluation
from stores.lake import Lake

JUDGE, REFINE = "judge", "refine"


def measure_role(
    lake: Lake,
    benchmark: str,
    model: ModelSettings,
    actor: ModelSettings,
    seed: int,
    progress: Progress,
    execution: Execution,
    overrides: Mapping[str, Any],
) -> list[Evaluation]:
    """Measures a model as a judge or a refiner, or goes on with it.

    Args:
        benchmark: judge, or refine (judged by the verifier, which is nobody's self).
        actor: the model whose answers are judged or refined; the same one each time makes figures comparable.
        overrides: keys of the evaluation's recipe.
    Raises:
        BudgetReached, FactoryError: see `run_on`; prompts were set aside.
    """

    def run(spec: RunSpecification) -> str:
        run_id = run_on(lake, spec, progress, execution)
        check_whole(lake, run_id)
        return run_id

    reasons = reasons_by_default(model)
    if benchmark == JUDGE:
        return evaluate_judge(lake, judge_recipe(model, actor, reasons, overrides), seed, run)
    return evaluate_refine(lake, refine_recipe(model, actor, not reasons, overrides), None, False, seed, run)
