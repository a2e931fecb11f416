"""Runs a loop: the steps that its rows lack, one after another."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from factory.inference.budget import BudgetReached
from factory.inference.trust import trust
from factory.loops.budgets import whose
from factory.loops.checking import check_before
from factory.loops.plan import Step, finished
from factory.loops.reading import Loop
from factory.loops.resources import check_resources
from factory.loops.rounds import Done, model_after, models_folder, output_name
from factory.loops.steps import RoundEmpty, do
from factory.loops.working import Watch, Working
from factory.runs.ending import end_noted
from factory.runs.loop import Execution, disk_faults
from factory.runs.places import remember, without_paths
from schemas import signals
from schemas.ids import content_id
from schemas.tables import Loop as LoopRow
from schemas.tables import LoopStep
from stores.checksums import keep_checksums
from stores.lake import Lake
from stores.locks import run_lock

Tell = Callable[[Step, LoopStep | None], None]
"""Told of a step when it begins, and with its row when it has ended."""


def run_loop(
    lake: Lake, loop: Loop, watch: Watch, tell: Tell, say: Callable[[str], None], execution: Execution
) -> None:
    """Does what is left of a loop. A step that was cut short goes on where it was.

    Raises:
        BudgetReached: the loop has spent its budget; it can continue with a larger one.
        RoundEmpty: a round gave nothing to train on.
        FactoryError: anything else that a person has to fix; finished steps are kept.
        KeyboardInterrupt: stopped by Ctrl-C, SIGTERM or SIGHUP; finished steps are kept.
    """
    lake.check_writable()
    check_before(loop)
    with run_lock(lake.place, "loop"), disk_faults(lake), signals.in_order():
        row = _begin(lake, loop)
        trust(loop.recipe.models, loop.sources)
        try:
            with end_noted(partial(_note_end, lake, row), stops=(RoundEmpty,)):
                _do_all(Working(lake, loop, watch, say, execution), tell)
        except BudgetReached as reached:
            raise BudgetReached(
                f"{whose(reached.limit)} is spent: continue with `factory resume {loop.loop_id} -o {reached.override}`, no answer "
                "is lost",
                reached.limit,
            ) from None
        _note_end(lake, row, "finished", None)


def _do_all(working: Working, tell: Tell) -> None:
    lake, loop = working.lake, working.loop
    done = finished(lake, loop.loop_id)
    reckoned = -1
    for step in loop.steps:
        if step in done:
            continue
        if step.round != reckoned:
            check_resources(lake, loop, step.round, done)
            reckoned = step.round
        tell(step, None)
        with signals.in_order():
            row = do(working, step, done)
            lake.append([row], message=f"loop {loop.loop_id}: round {step.round}, {step}")
        done[step] = row
        tell(step, row)
        if step == max((one for one in loop.steps if one.round == step.round), key=loop.steps.index):
            _prune(lake, loop, done, step.round)


def _prune(lake: Lake, loop: Loop, done: Done, number: int) -> None:
    """Removes the folders of rounds that are older than `keep_rounds` and that no later round needs."""
    if loop.settings.keep_rounds is None:
        return
    others = lake.query(
        "SELECT DISTINCT model_id FROM loop_steps WHERE loop_id <> $id AND model_id IS NOT NULL ORDER BY ALL",
        {"id": loop.loop_id},
    )
    needed = {model_after(loop, done, at, role) for at in (0, number) for role in loop.settings.train}
    needed |= set(others.column(0).to_pylist())  # a fork may go on from it
    for step in loop.steps:  # not the rows, which a lake from somebody else may have named
        row = done.get(step)
        if row is None or step.step != "train" or not 0 < step.round <= number - loop.settings.keep_rounds:
            continue
        if row.shared_from is None and row.model_id not in needed:
            shutil.rmtree(models_folder(lake) / output_name(loop.loop_id, step), ignore_errors=True)


def _begin(lake: Lake, loop: Loop) -> LoopRow:
    stored, places = loop.as_json()
    remember(loop.loop_id, places)
    attempts = lake.query(
        "SELECT count(DISTINCT attempt) AS n FROM loops WHERE loop_id = $id AND status = 'running'",
        {"id": loop.loop_id},
    )
    attempt = attempts.column(0)[0].as_py()
    row = LoopRow(
        loop_event_id=content_id("loop_event", loop.loop_id, attempt, "running"),
        loop_id=loop.loop_id,
        attempt=attempt,
        status="running",
        reason=None,
        settings=stored,
        forked_from=loop.forked_from,
        forked_round=loop.forked_round,
        started_at=datetime.now(UTC),
        ended_at=None,
    )
    models_folder(lake).mkdir(parents=True, exist_ok=True)
    lake.append([row], message=f"loop {loop.loop_id}: started")
    return row


def _note_end(lake: Lake, row: LoopRow, status: str, reason: str | None) -> None:
    ended = replace(
        row,
        loop_event_id=content_id("loop_event", row.loop_id, row.attempt, status),
        status=status,
        reason=None if reason is None else without_paths(reason),
        ended_at=datetime.now(UTC),
    )
    lake.append([ended], message=f"loop {row.loop_id}: {status}")
    keep_checksums(lake)
