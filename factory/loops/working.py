"""What the steps of a loop share."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from factory.loops.plan import Step
from factory.loops.reading import Loop
from factory.loops.rounds import Done
from factory.runs.loop import Execution
from factory.runs.progress import Progress
from stores.lake import Lake
from stores.sql import sql

Watch = Callable[[Progress], AbstractContextManager[None]]
"""Shows a run while the context is open."""


@dataclass(frozen=True, slots=True)
class Working:
    """What the steps of a loop share."""

    lake: Lake
    loop: Loop
    watch: Watch
    say: Callable[[str], None]
    """receives what a user's command says, and what is waited for"""
    execution: Execution

    def tokens_left(self, step: Step, done: Done) -> int | None:
        """What a step's run may use, its own earlier attempts included; None: there is no limit."""
        limit = self.loop.settings.budget.max_tokens
        if limit is None:
            return None
        runs = [row.run_id for earlier, row in done.items() if row.run_id and earlier != step]
        [spent] = self.lake.query(sql("tokens_of_runs"), {"run_ids": runs}).column(0).to_pylist()
        return max(1, limit - int(spent))
