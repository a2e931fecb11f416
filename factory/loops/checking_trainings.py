"""What would end a loop's trainings before their first step, found before the data is paid for that they train on."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from factory.loops.reading import Loop, trainer_of
from factory.loops.rounds import first_of_data
from factory.loops.templates import check_template
from factory.recipes.training import RoleTraining
from factory.runs.rewarding import WHERE, JudgeRecipe, judge_from
from schemas.errors import FactoryError
from schemas.objectives import OBJECTIVES, TRAINER
from schemas.settings import read_settings
from stores.lake import Lake
from stores.parameters import defaults
from stores.training_sets import check_parameters, format_of, training_set_sql
from stores.training_sets.rows import rows_now
from stores.training_sets.splits import is_held_out

CHECKER = "trainers.checking"
"""the module that is started, never imported: it reads settings as the trainers do"""


@dataclass(frozen=True, slots=True)
class Taken:
    """A prompt that a round takes."""

    prompt_id: str
    text: str
    """of its last turn"""
    constrained: bool
    """whether the verifier can check its answers"""


def check_trainings(loop: Loop) -> dict[str, dict[str, Any]]:
    """Checks how each role is trained, and returns the trainers' settings of those that are trained online.

    Raises:
        FactoryError: a set that the trainer does not take, nobody who pays, settings that the trainer would refuse, or answers
            written with another chat template than the model's.
    """
    for role, training in loop.settings.train.items():
        _check_set(role, training)
        if training.reward is not None:
            _check_paid(role, training)
    settings = _read_settings(loop)
    for role, found in settings.items():
        _check_online(loop, role, found)
    for role, training in loop.settings.train.items():
        check_template(loop, role, training, partial(_columns_of, training, training_set_sql(training.set)))
    return settings


def _check_set(role: str, training: RoleTraining) -> None:
    trainer, format = trainer_of(training), format_of(training.set)
    if OBJECTIVES[trainer].format != format:
        raise FactoryError(
            f"train.{role}: training set {training.set} has format {format}, and trainer {trainer} needs "
            f"{OBJECTIVES[trainer].format}: set train.{role}.trainer to {TRAINER[format]}, or give another set"
        )
    needed = OBJECTIVES[trainer].columns
    there = _columns_of(training, training_set_sql(training.set)) if needed else set()
    if missing := [name for name in needed if name not in there]:
        raise FactoryError(
            f"train.{role}: training set {training.set} has no column {' and no column '.join(missing)}, from which {trainer} "
            f"learns: set train.{role}.set to one such as {trainer}, let its query return them, or set train.{role}.trainer to "
            f"{TRAINER[format]}"
        )


def _columns_of(training: RoleTraining, query: str) -> set[str]:
    """What a set's query returns, asked of an empty lake."""
    parameters = {**defaults(query), **check_parameters(training.set, training.parameters), "run_ids": []}
    with (
        tempfile.TemporaryDirectory(prefix="factory-columns-") as folder,
        Lake.open(Path(folder) / "lake", create=True) as lake,
    ):
        rows, _ = rows_now(lake, Path(training.set).stem, query, parameters)
    return set(rows.column_names)


def _check_paid(role: str, training: RoleTraining) -> None:
    if trainer_of(training) != "online":
        raise FactoryError(
            f"train.{role}.reward is of online training, and {role} is trained by {trainer_of(training)}: leave it out, or set "
            f"train.{role}.trainer to online"
        )


def _read_settings(loop: Loop) -> dict[str, dict[str, Any]]:
    """The settings of each role that is trained online, once the trainers have read those of all roles."""
    asked = [(f"start_with.{role}", "sft", one.configs, False) for role, one in loop.settings.start_with.items()]
    asked += [
        (f"train.{role}", trainer_of(one), one.configs, one.reward is not None)
        for role, one in loop.settings.train.items()
    ]
    # Without a file there are the defaults, which need no check; of online training their numbers are looked at.
    asked = [one for one in asked if one[2] or one[1] == "online"]
    settings: dict[str, dict[str, Any]] = {}
    questions = [{"objective": trainer, "configs": configs, "paid": paid} for _, trainer, configs, paid in asked]
    for (where, trainer, *_), found in zip(asked, _ask_trainers(questions), strict=True):
        if found["error"] is not None:
            raise FactoryError(f"{where}.config: {found['error']}")
        if trainer == "online":
            settings[where.removeprefix("train.")] = found["settings"]
    return settings


def _ask_trainers(questions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    if not questions:
        return []
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-P", "-m", CHECKER],
        input=json.dumps(questions) + "\n",
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))},
    )
    if done.returncode:
        raise FactoryError(f"the trainers' settings cannot be read: `python -m {CHECKER}` says why above")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _check_online(loop: Loop, role: str, settings: dict[str, Any]) -> None:
    training = loop.settings.train[role]
    if training.reward is None and settings["reward"] is None:
        raise FactoryError(
            f"train.{role}.reward is missing, and {role} is trained online: name the role of a judge, or of a reward model "
            f"that is trained before it; or say what pays in a file of train.{role}.config (online: {{reward: {{kind: …}}}})"
        )
    if training.reward is None and settings["reward"]["recipe"] is not None:
        try:
            judge_from(read_settings(JudgeRecipe, settings["reward"]["recipe"], WHERE))
        except FactoryError as error:
            raise FactoryError(f"train.{role}.config: {error}") from None
    if settings["lora"] is not None and training.start != training.reference and loop.settings.rounds > 1:
        raise FactoryError(
            f"train.{role}: with lora the reference of online training is the start, and start is {training.start}, reference "
            f"{training.reference}: make them the same, or leave lora out"
        )


def check_enough(loop: Loop, settings: dict[str, dict[str, Any]], rounds: Sequence[Sequence[Taken]]) -> None:
    """Whether each round has the prompts that a step of online training takes.

    Args:
        settings: of the roles that are trained online.
        rounds: the prompts of each round, as far as they are known.
    Raises:
        FactoryError: a round has too few, or some without constraints where the verifier pays.
    """
    for role, of_trainer in settings.items():
        training = loop.settings.train[role]
        query = training_set_sql(training.set)
        ours = query == training_set_sql("prompts")
        if ours and training.reward is None and of_trainer["reward"]["kind"] == "verifier":
            _check_constrained(loop, role, rounds)
        if loop.recipe.entries("evolve") or loop.recipe.answers is not None:
            continue  # there are others than these
        needed = of_trainer["batch_size"] // of_trainer["num_generations"]
        parameters = {**defaults(query), **check_parameters(training.set, training.parameters)}
        held_out = parameters.get("held_out") if ours else None  # what another query does with it is its own affair
        for number, ids in _prompts_of_data(loop, rounds):
            count = sum(not is_held_out(one, held_out or 0.0) for one in ids)
            if count < needed:
                lower = ""
                if held_out and len(ids) >= needed:
                    lower = f", lower train.{role}.parameters.held_out ({held_out:g})"
                raise FactoryError(
                    f"train.{role}: round {number} has {count:,} of {len(ids):,} prompts to train on, and a step of online "
                    f"training takes {needed:,} (batch_size {of_trainer['batch_size']} / num_generations "
                    f"{of_trainer['num_generations']}): take more prompts (prompts.each_round){lower}, or lower batch_size "
                    f"in a file of train.{role}.config"
                )


def _check_constrained(loop: Loop, role: str, rounds: Sequence[Sequence[Taken]]) -> None:
    for taken in rounds:
        if without := sum(not one.constrained for one in taken):
            raise FactoryError(
                f"train.{role}: {without:,} of {len(taken):,} prompts of {loop.recipe.prompts.source} have no constraints, and "
                "the verifier, which pays, cannot judge their answers: take other prompts, a set that leaves them out (WHERE "
                "len(constraints) > 0), or another reward"
            )


def _prompts_of_data(loop: Loop, rounds: Sequence[Sequence[Taken]]) -> Iterator[tuple[int, set[str]]]:
    """Each round with the ids of the prompts that its training sets are built from."""
    for number in range(1, len(rounds) + 1):
        taken = rounds[first_of_data(loop, number) - 1 : number]
        yield number, {one.prompt_id for of_round in taken for one in of_round}
