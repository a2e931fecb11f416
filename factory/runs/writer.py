"""Writes rows to the lake in batches, and makes pairs of finished prompts."""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import Any

from stores.lake import Lake
from stores.pairing import Pairing, unpaired

FLUSH_EVERY_S = 5.0
FLUSH_AT_ROWS = 10_000
COMMIT_SHARE = 0.1
"""Of the time, at most: commits take longer as a lake grows, so the pauses between them grow too."""


class Writer:
    """Commits what stages emit, in the background. Rows emitted together are committed together.

    When a prompt has finished its stages and its rows are in the lake, the pairings make its pairs.
    """

    def __init__(
        self, lake: Lake, run_id: str, pairings: Sequence[Pairing] = (), every_s: float = FLUSH_EVERY_S
    ) -> None:
        self._lake = lake
        self._run_id = run_id
        self._pairings = pairings
        self._every_s = every_s
        self._rows: list[Any] = []
        self._done: list[str] = []
        self._full = asyncio.Event()
        self._committing = asyncio.Lock()

    def emit(self, rows: Iterable[Any]) -> None:
        self._rows.extend(rows)
        if len(self._rows) >= FLUSH_AT_ROWS:
            self._full.set()

    def complete(self, prompt_id: str) -> None:
        """Notes that all rows of the prompt are emitted, so that pairs can be made of them."""
        self._done.append(prompt_id)

    async def run(self) -> None:
        """Commits until cancelled; call `flush` then for the rest."""
        committing_s = 0.0
        while True:
            pause_s = committing_s / COMMIT_SHARE
            await asyncio.sleep(pause_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), max(0.0, self._every_s - pause_s))
            started_s = time.monotonic()
            await self.flush()
            committing_s = time.monotonic() - started_s

    async def flush(self) -> None:
        """When it returns, all rows emitted before are in the lake, even those that another flush was committing."""
        async with self._committing:
            self._full.clear()
            rows, self._rows = self._rows, []
            done, self._done = self._done, []
            if rows or done:
                # Shielded, so that stopping the run does not abandon a commit.
                await asyncio.shield(asyncio.to_thread(self._commit, rows, done))

    def _commit(self, rows: list[Any], done: list[str]) -> None:
        if rows:
            tables = sorted({type(row).__name__ for row in rows})
            message = f"run {self._run_id}: {', '.join(tables)}"
            self._lake.append(rows, message=message, details={"run_id": self._run_id})
        if done:
            write_pairs(self._lake, self._run_id, self._pairings, done)


def write_pairs(lake: Lake, run_id: str, pairings: Sequence[Pairing], prompt_ids: list[str] | None) -> None:
    """Makes a run's missing pairs, for these prompts or (None) for all."""
    pairs = [pair for pairing in pairings for pair in unpaired(lake, run_id, pairing, prompt_ids)]
    if pairs:
        lake.append(pairs, message=f"run {run_id}: Pair", details={"run_id": run_id})
