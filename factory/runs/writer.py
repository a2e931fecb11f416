"""Rows on their way to the lake: gathered for a moment, then committed together."""

import asyncio
import contextlib
import time
from collections.abc import Iterable
from typing import Any

from stores.lake import Lake

FLUSH_EVERY_S = 5.0
FLUSH_AT_ROWS = 10_000
COMMIT_SHARE = 0.1
"""Of the time at most: a commit takes longer the more rows a lake holds, so the pauses between commits grow with it."""


class Writer:
    """Commits what stages emit, in the background. Rows emitted together are committed together."""

    def __init__(self, lake: Lake, run_id: str, every_s: float = FLUSH_EVERY_S) -> None:
        self._lake = lake
        self._run_id = run_id
        self._every_s = every_s
        self._pending: list[Any] = []
        self._full = asyncio.Event()
        self._committing = asyncio.Lock()

    def emit(self, rows: Iterable[Any]) -> None:
        self._pending.extend(rows)
        if len(self._pending) >= FLUSH_AT_ROWS:
            self._full.set()

    async def run(self) -> None:
        """Commits until it is cancelled; what is left then is for `flush`."""
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
        """When it returns, all that was emitted before is in the lake: also what another flush was at."""
        async with self._committing:
            self._full.clear()
            rows, self._pending = self._pending, []
            if rows:
                # Shielded: a commit that has begun is not given up half-way when the run is stopped.
                await asyncio.shield(asyncio.to_thread(self._commit, rows))

    def _commit(self, rows: list[Any]) -> None:
        tables = sorted({type(row).__name__ for row in rows})
        self._lake.append(rows, message=f"run {self._run_id}: {', '.join(tables)}", details={"run_id": self._run_id})
