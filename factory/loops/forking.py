"""Forks a loop: a sibling with other settings that shares the earlier rounds' rows by reference."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from factory.loops.plan import finished
from factory.loops.reading import Loop, loop_from_row
from schemas.errors import FactoryError
from schemas.tables import Loop as LoopRow
from stores.lake import Lake

ROUND_0 = ("start_with", "seed", "models")
"""settings that the shared rounds were made with"""


def find_loop(lake: Lake, loop_id: str) -> LoopRow | None:
    """The newest row of the loop with this id or prefix of it; None: there is none.

    Raises:
        FactoryError: more than one loop matches.
    """
    rows = lake.read(
        LoopRow,
        "loop_event_id IN (SELECT loop_event_id FROM current_loops WHERE starts_with(loop_id, $id))",
        {"id": loop_id},
    )
    if len(rows) > 1:
        raise FactoryError(f"more than one loop matches {loop_id!r}: {', '.join(sorted(row.loop_id for row in rows))}")
    return rows[0] if rows else None


def fork(lake: Lake, loop_id: str, from_round: int, changes: Mapping[str, Any]) -> Loop:
    """A sibling of a loop, whose own first round is `from_round`; the steps before it are shared.

    Raises:
        FactoryError: no such loop, a round that it has not reached, or changes to what the shared rounds were made with.
    """
    row = find_loop(lake, loop_id)
    if row is None:
        known = lake.query("SELECT loop_id FROM current_loops ORDER BY started_at").column(0).to_pylist()
        raise FactoryError(
            f"no loop matches {loop_id!r} in lake {lake.place.where}: it has {', '.join(known) or 'none'}"
        )
    for path in changes:
        if (first := path.partition(".")[0]) in ROUND_0:
            raise FactoryError(
                f"{path} cannot change in a fork, as the shared rounds were made with it: {first} is the loop's"
            )
    parent = loop_from_row(row)
    done = finished(lake, parent.loop_id)
    missing = [step for step in parent.steps if step.round < from_round and step not in done]
    if from_round < 1 or missing:
        what = f"its round {missing[0].round} lacks the step {missing[0]}" if missing else "rounds begin with 1"
        raise FactoryError(f"loop {parent.loop_id} cannot be forked from round {from_round}: {what}")
    loop = replace(loop_from_row(row, changes), forked_from=parent.loop_id, forked_round=from_round)
    if not changes:
        raise FactoryError(
            "a fork without a change would be the same loop: say what differs, as in --set train.actor.set=…"
        )
    shared = [
        replace(
            made, step_id=step.id(loop.loop_id), loop_id=loop.loop_id, shared_from=made.shared_from or parent.loop_id
        )
        for step, made in done.items()
        if step.round < from_round
    ]
    lake.append(shared, message=f"loop {loop.loop_id}: forked from {parent.loop_id} at round {from_round}")
    return loop
