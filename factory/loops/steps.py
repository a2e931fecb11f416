"""The steps of a round: each does one thing and returns the row that says it is done."""

from datetime import UTC, datetime
from typing import Any

from factory.audit.audit import examination
from factory.loops.budgets import spending
from factory.loops.keeping import Figures, broken
from factory.loops.measuring import measure
from factory.loops.plan import Step
from factory.loops.reading import Loop
from factory.loops.rewards import paying
from factory.loops.rounds import (
    Done,
    first_model,
    model_after,
    models_folder,
    models_of,
    output_name,
    round_specification,
    runs_of_data,
    trained_model,
)
from factory.loops.serving import bring
from factory.loops.training import Training, Weights, command_of, first_weights, train
from factory.loops.working import Working
from factory.recipes.training import RoleTraining
from factory.runs.audit_settings import settings_of
from factory.runs.loop import run_on
from factory.runs.progress import Progress
from schemas.errors import FactoryError
from schemas.ids import online_run_id
from schemas.objectives import OBJECTIVES, TRAINER
from schemas.tables import Evaluation, LoopStep, TrainingSet
from stores.lake import Lake
from stores.pairing import pairing_sql
from stores.training_sets import (
    NoneLeft,
    NoRows,
    build_training_set,
    check_parameters,
    format_of,
    read_training_set,
    write_parquet,
)


class RoundEmpty(FactoryError):
    """A round has no pairs to train on."""


def do(working: Working, step: Step, done: Done) -> LoopStep:
    """Does a step, or goes on with it, and returns its row.

    Raises:
        RoundEmpty: a training set has no rows.
        BudgetReached, FactoryError: see `run_on`.
    """
    began = datetime.now(UTC)
    kind = step.step.partition(" ")[0]
    made = {"run": _run, "build": _build, "train": _train, "evaluate": _evaluate, "keep": _keep}[kind](
        working, step, done
    )
    now = datetime.now(UTC)
    empty = dict.fromkeys(("run_id", "training_set_id", "training_run_id", "model_id", "shared_from", "note"))
    return LoopStep(
        step_id=step.id(working.loop.loop_id),
        loop_id=working.loop.loop_id,
        round=step.round,
        step=step.step,
        role=step.role,
        seconds=(now - began).total_seconds(),
        recorded_at=now,
        **(empty | made),
    )


def _run(working: Working, step: Step, done: Done) -> dict[str, Any]:
    bring(working.loop, working.lake, models_of(working.loop, done, step.round), working.say)
    left = working.tokens_left(step, done)
    spec = round_specification(working.loop, working.lake, done, step.round, left)
    progress = Progress()
    with spending(left, working.loop.recipe.budget.max_tokens, "override"), working.watch(progress):
        return {"run_id": run_on(working.lake, spec, progress, working.execution)}


def _build(working: Working, step: Step, done: Done) -> dict[str, Any]:
    training = working.loop.settings.train[str(step.role)]
    runs = runs_of_data(working.loop, done, step.round)
    examine = examination(working.lake, settings_of(working.lake, runs), ())
    try:
        built = build_training_set(working.lake, training.set, training.parameters, runs, examine)
    except NoRows as error:
        nothing = f"round {step.round} gives {training.set} no rows to train {step.role} on"
        if not isinstance(error, NoneLeft) and _people_decide(working, training, runs):
            raise RoundEmpty(
                f"{nothing}, for people have not said, or do not agree, which answers are better: compare them in `factory "
                "view` (Review), then repeat the command"
            ) from error
        raise RoundEmpty(
            f"{nothing}: take more prompts (prompts.each_round), an easier recipe (stages.search.branch=4, lower thresholds) "
            f"or older rounds too (data=all), {_in_a_fork(working, step)}; {error}"
        ) from error
    if not built.train.num_rows:
        more = "take more prompts (prompts.each_round)"
        if _people_decide(working, training, runs):
            more = "compare more answers in `factory view` (Review) and repeat the command"
        raise RoundEmpty(
            f"round {step.round}: every row of {training.set} is held out: {more}, or hold out fewer "
            f"(train.{step.role}.parameters.held_out), {_in_a_fork(working, step)}"
        )
    if working.lake.place.folder is not None:
        name = f"{built.row.name}@{built.row.version}"
        write_parquet(built, working.lake.place.folder / "training_sets" / name)
    return {"training_set_id": built.row.training_set_id}


def _people_decide(working: Working, training: RoleTraining, runs: list[str]) -> bool:
    """Whether the set's rows wait for people's reviews of pairs that are there."""
    theirs = pairing_sql("two_answers")
    shown = [pairing.source for pairing in working.loop.recipe.pairings() if pairing.sql == theirs]
    values = check_parameters(training.set, training.parameters)
    every = bool(values.get("reviewed_only"))
    if format_of(training.set) != "preference" or not (shown or every):
        return False
    found = working.lake.query(
        "SELECT 1 FROM pairs WHERE list_contains($runs, run_id) AND ($every OR list_contains($shown, source)) LIMIT 1",
        {"runs": runs, "every": every, "shown": shown},
    )
    return bool(found.num_rows)


def _in_a_fork(working: Working, step: Step) -> str:
    """How a round gets other settings and the loop keeps the rounds before it."""
    return f"in a fork: `factory fork {working.loop.loop_id} --from-round {step.round} --set KEY=VALUE`"


def _train(working: Working, step: Step, done: Done) -> dict[str, Any]:
    lake, loop, role = working.lake, working.loop, str(step.role)
    settings = loop.settings
    start: str | None = None
    reference: str | None = None
    payer: str | None = None
    configs: tuple[str, ...]
    if step.round == 0:
        given = settings.start_with[role]
        training_set, objective = read_training_set(lake, given.set).row, "sft"
        configs, other_template = given.configs, given.allow_other_template
    else:
        training = settings.train[role]
        [training_set] = lake.read(
            TrainingSet, "training_set_id = $id", {"id": done[Step(step.round, "build", role)].training_set_id}
        )
        configs, objective = training.configs, training.trainer or TRAINER[training_set.format]
        payer, other_template = training.reward, training.allow_other_template
        chosen = {"first": first_model(loop, done, role), "previous": model_after(loop, done, step.round - 1, role)}
        start, reference = chosen[training.start], chosen[training.reference]
    other = OBJECTIVES[objective].reference and reference != start
    output = models_folder(lake) / output_name(loop.loop_id, step)
    with paying(working, step, done, payer) as (reward, more):
        asked = Training(
            objective,
            f"{training_set.name}@{training_set.version}",
            _weights(working, role, start),
            _weights(working, role, reference) if other else None,
            output,
            settings.seed + step.round,
            (*configs, *more),
            reward,
            other_template,
        )
        run, model = train(command_of(lake.place.where, asked, settings.launch), lake, training_set, output)
    made = {
        "training_run_id": run.training_run_id,
        "training_set_id": training_set.training_set_id,
        "run_id": _run_of(lake, run.training_run_id),
    }
    if model is None:
        return {**made, "note": f"diverged: {run.reason}"}
    return {**made, "model_id": model.model_id}


def _run_of(lake: Lake, training_run_id: str) -> str | None:
    """The run with an online training's answers and what it paid for them; None: another training."""
    known = {"id": online_run_id(training_run_id)}
    found = lake.query("SELECT run_id FROM current_runs WHERE run_id = $id ORDER BY run_id", known)
    return found.column(0)[0].as_py() if found.num_rows else None


def _weights(working: Working, role: str, model_id: str | None) -> Weights:
    """The files of a model that the loop has made, or (None) began with."""
    if model_id is None:
        return first_weights(working.loop, role)
    return Weights(str(trained_model(working.lake, model_id).folder))


def _evaluate(working: Working, step: Step, done: Done) -> dict[str, Any]:
    measured = measure(working, step, done)[0]
    return {"model_id": measured.model_id, "run_id": measured.run_id}


def _keep(working: Working, step: Step, done: Done) -> dict[str, Any]:
    """Decides whether the next round uses the new model; a note says why not."""
    loop, role = working.loop, str(step.role)
    trained = done[Step(step.round, "train", role)]
    if trained.model_id is None:
        return {"note": trained.note}
    reasons = []
    for rule in loop.rules:
        if rule.role == role:
            new, before, first = (
                _figures(working, loop, done, number, rule.benchmark, role)
                for number in (step.round, _kept_round(loop, done, step.round - 1, role), 0)
            )
            reasons.append(broken(rule, new, before, first))
    note = next(filter(None, reasons), None)
    return {"model_id": trained.model_id, "note": note}


def _kept_round(loop: Loop, done: Done, number: int, role: str) -> int:
    """The newest round up to `number` whose model was kept; 0: none was."""
    kept = (n for n in range(number, 0, -1) if done[Step(n, "keep", role)].note is None)
    return next(kept, 0)


def _figures(working: Working, loop: Loop, done: Done, number: int, benchmark: str, role: str) -> Figures:
    row = done[Step(number, f"evaluate {benchmark}", role)]
    alone = "run_id = $run_id AND model_id = $model_id AND other_model_id IS NULL"
    found = working.lake.read(Evaluation, alone, {"run_id": row.run_id, "model_id": row.model_id})
    return {(benchmark, one.metric): one.value for one in found}
