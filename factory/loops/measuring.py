"""What each round is measured by, on the model that it has made."""

from factory.evaluation.judging import evaluate_judge
from factory.evaluation.measuring import Options, run_benchmark
from factory.evaluation.recipes import judge_recipe, reasons_by_default, refine_recipe
from factory.evaluation.refining import evaluate_refine
from factory.loops.plan import Step
from factory.loops.reading import ANSWERING, JUDGING, REFINING, role_of
from factory.loops.rounds import Done, first_model, model_after, with_models
from factory.loops.serving import bring
from factory.loops.working import Working
from factory.runs.loop import run_on
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from schemas.tables import Evaluation


def measure(working: Working, step: Step, done: Done) -> list[Evaluation]:
    """Measures the model that a round has made, kept or not; if its training diverged, the one before.

    A judge and a refiner are measured on answers of the loop's first actor, which are the same in every round.
    """
    loop, lake, role = working.loop, working.lake, str(step.role)
    benchmark = step.step.removeprefix("evaluate ")
    trained = done.get(Step(step.round, "train", role))
    model_id = trained.model_id if trained is not None else None
    if model_id is None:
        model_id = model_after(loop, done, max(0, step.round - 1), role)
    answering = role_of(loop.recipe, ANSWERING)
    needed = (
        {role: model_id}
        if benchmark not in (JUDGING, REFINING)
        else {answering: first_model(loop, done, answering), role: model_id}
    )
    bring(loop, lake, needed, working.say)
    model = with_models(loop, lake, {role: model_id}, {}).models[role]
    overrides = {**loop.settings.evaluate_override, "budget.max_tokens": working.tokens_left(step, done)}
    progress = Progress()

    def run(spec: RunSpecification) -> str:
        return run_on(lake, spec, progress, working.execution)

    with working.watch(progress):
        if benchmark not in (JUDGING, REFINING):
            seen_in = [str(row.run_id) for row in done.values() if row.step == "run"]
            limit, options = loop.settings.evaluate_limit, Options(overrides, seen_in)
            return run_benchmark(
                lake,
                benchmark,
                model,
                role,
                loop.settings.seed,
                progress,
                limit,
                options=options,
                execution=working.execution,
            )
        if loop.settings.evaluate_limit is not None:
            overrides["prompts.limit"] = loop.settings.evaluate_limit
        actor = with_models(loop, lake, {answering: needed[answering]}, {}).models[answering]
        if benchmark == JUDGING:
            recipe = judge_recipe(model, actor, reasons_by_default(model), overrides)
            return evaluate_judge(lake, recipe, loop.settings.seed, run)
        recipe = refine_recipe(model, actor, model.embedded is not None, overrides)
        return evaluate_refine(lake, recipe, None, False, loop.settings.seed, run)
