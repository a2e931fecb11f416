"""What each round is measured by, on the model that it has made."""

from factory.evaluation.judging import evaluate_judge
from factory.evaluation.measuring import Options, run_benchmark
from factory.evaluation.recipes import judge_recipe, reasons_by_default, refine_recipe
from factory.evaluation.refining import evaluate_refine
from factory.loops.budgets import MOST_TOKENS, smaller, spending
from factory.loops.plan import ANSWERING, JUDGING, REFINING, Step
from factory.loops.reading import role_of
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
    loop, lake, role, execution = working.loop, working.lake, str(step.role), working.execution
    settings, benchmark = loop.settings, step.step.removeprefix("evaluate ")
    trained = done.get(Step(step.round, "train", role))
    model_id = trained.model_id if trained is not None else None
    if model_id is None:
        model_id = model_after(loop, done, max(0, step.round - 1), role)
    answering = role_of(loop.recipe, ANSWERING)
    of_role = benchmark in (JUDGING, REFINING)
    bring(
        loop, lake, {role: model_id} | ({answering: first_model(loop, done, answering)} if of_role else {}), working.say
    )
    model = with_models(loop, lake, {role: model_id}, {}).models[role]
    left, given = working.tokens_left(step, done), settings.evaluate_override.get(MOST_TOKENS)
    own = given if isinstance(given, int) else None
    overrides = {**settings.evaluate_override} | ({} if left is None else {MOST_TOKENS: smaller(left, own)})
    progress = Progress()
    with spending(left, own, "evaluate_override"), working.watch(progress):
        if of_role:
            first = with_models(loop, lake, {answering: first_model(loop, done, answering)}, {}).models[answering]
            overrides |= {} if settings.evaluate_limit is None else {"prompts.limit": settings.evaluate_limit}
            reasons = reasons_by_default(model)

            def run(spec: RunSpecification) -> str:
                return run_on(lake, spec, progress, execution)

            if benchmark == JUDGING:
                return evaluate_judge(lake, judge_recipe(model, first, reasons, overrides), settings.seed, run)
            # Judged by the verifier, which no refiner is.
            recipe = refine_recipe(model, first, not reasons, overrides)
            return evaluate_refine(lake, recipe, None, False, settings.seed, run)
        options = Options(overrides, [str(row.run_id) for row in done.values() if row.step == "run"])
        limit = settings.evaluate_limit
        return run_benchmark(
            lake,
            loop.benchmarks[benchmark],
            model,
            role,
            settings.seed,
            progress,
            limit,
            options=options,
            execution=execution,
        )
