"""Rows on their way to the lake: gathered for a moment, then committed together."""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

from stores.lake import Lake

FLUSH_EVERY_S = 2.0
FLUSH_AT_ROWS = 5_000


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
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), self._every_s)
            await self.flush()

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
