"""`factory rerun`: finds what is to be done again, does it, says how it compares, and keeps the outcome in `reruns`."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from factory.loops.rounds import models_folder
from factory.reruns.data import rows_of_lock, rows_of_set, where_rows_differ
from factory.reruns.finding import find_training_run, runs_like, trainings_like
from factory.reruns.lock import locked_set, locked_training, set_of
from factory.reruns.lock_file import Lock, LockedTraining, read_lock
from factory.reruns.published import published_rows
from factory.reruns.recording import NotMade, keep, rerun_of_run, rerun_of_training
from factory.reruns.report import data_line, run_lines, training_lines
from factory.reruns.runs import Asked, repeat_run
from factory.reruns.training import Choices, repeat_training
from factory.runs.places import without_paths
from factory.runs.progress import Progress
from schemas.errors import FactoryError
from schemas.tables import Rerun
from stores.faults import verify
from stores.lake import Lake

Say = Callable[[str], None]
Watched = Callable[[Progress], AbstractContextManager[object]]


def rerun(lake: Lake, given: str, choices: Choices, of_run: Asked, watched: Watched, say: Say) -> bool:
    """Repeats a training or a run of a lake; returns whether it came out identical.

    Raises:
        FactoryError: nothing or more than one thing is called so, or it cannot be repeated here.
    """
    runs = runs_like(lake, given)
    trainings = trainings_like(lake, given)
    if len(runs) + len(trainings) > 1:
        raise FactoryError(f"{given!r} could be {', '.join([*runs, *trainings][:5])}: give more of the id")
    if runs:
        return _rerun_run(lake, runs[0], of_run, watched, say)
    if of_run != Asked():
        raise FactoryError(
            "--into, --anew, --offline and -o are for runs: a training has --output, and its settings stay as they are"
        )
    return _rerun_training(lake, given, choices, say)


def rerun_lock(file: Path, lake: Lake | None, data: str | None, choices: Choices, say: Say) -> bool:
    """Repeats what a lock file describes, from a lake or from the published dataset alone.

    Args:
        data: a folder or a hub id of the published dataset; None: the lake has the rows.
    Raises:
        FactoryError: it is no lock file, the data is not the lock's, or it cannot be trained here.
    """
    lock = read_lock(file)
    locked = lock.training_set
    if data is not None:
        rows, place = published_rows(data, locked), "the published dataset"
    elif lake is not None:
        rows, place = rows_of_lock(lake, locked), "the lake"
    else:
        raise FactoryError(
            f"{file} does not hold the rows: name the lake with --lake or the published dataset with --data"
        )
    say(data_line(locked, place))
    if lock.training is None:
        say("identical")
        return True
    return _trained(lock, lock.training, rows, choices, lake, say)


def _trained(
    lock: Lock, training: LockedTraining, rows: pa.Table, choices: Choices, lake: Lake | None, say: Say
) -> bool:
    found = repeat_training(training, lock.training_set, rows, choices, say)
    for line in training_lines(training, found):
        say(line)
    if lake is not None and trainings_like(lake, training.training_run_id):
        _keep(lake, rerun_of_training(training.training_run_id, found), say)
    return found.identical


def _rerun_training(lake: Lake, given: str, choices: Choices, say: Say) -> bool:
    started = datetime.now(UTC)
    run = find_training_run(lake, given)
    row = set_of(lake, run)

    def failed(reason: str, data_identical: bool | None = None, first_difference: str | None = None) -> None:
        made = NotMade(started, datetime.now(UTC), reason, data_identical, first_difference)
        _keep(lake, rerun_of_training(run.training_run_id, made), say)

    choices = replace(choices, folders=tuple(dict.fromkeys((models_folder(lake), *choices.folders))))
    say(
        f"training {run.training_run_id}: {run.objective} from {run.base_model} on {row.name}@{row.version}, seed {run.seed}"
    )
    try:
        rows, same = rows_of_set(lake, row)
        locked = locked_set(lake, row, rows)
        training = locked_training(lake, run)
    except FactoryError as error:
        failed(str(error))
        raise
    if not same:
        where = where_rows_differ(lake, row, rows)
        reason = "the rows of the set are not those that it was built of"
        failed(reason, False, where)
        first = (
            f"the first is {where}"
            if where
            else "which of them is not known, as no Parquet file of it lies beside the lake"
        )
        say(f"data: different, {first}")
        say(f"different: nothing was trained, as {reason}: see {verify(lake.place.where)}")
        return False
    say(data_line(locked, f"snapshot {row.snapshot}"))
    try:
        found = repeat_training(training, locked, rows, choices, say)
    except FactoryError as error:
        failed(str(error), True)
        raise
    for line in training_lines(training, found):
        say(line)
    _keep(lake, rerun_of_training(run.training_run_id, found), say)
    return found.identical


def _rerun_run(lake: Lake, run_id: str, asked: Asked, watched: Watched, say: Say) -> bool:
    started = datetime.now(UTC)
    say(f"run {run_id}: again into {asked.into or 'a lake that is removed at the end'}")
    try:
        found = repeat_run(lake, run_id, asked, watched)
    except FactoryError as error:
        _keep(lake, rerun_of_run(run_id, NotMade(started, datetime.now(UTC), without_paths(str(error)))), say)
        raise
    for line in run_lines(found):
        say(line)
    _keep(lake, rerun_of_run(run_id, found), say)
    return found.reason is None


def _keep(lake: Lake, row: Rerun, say: Say) -> None:
    why_not = keep(lake, row)
    if why_not is not None:
        say(f"the outcome is not kept in the lake: {why_not}")
