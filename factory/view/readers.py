"""A few read-only connections to a lake for the threads that answer requests, and queries that end when their time is up."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from queue import LifoQueue
from threading import Event, Timer
from typing import Any

import duckdb
import pyarrow as pa

from stores.lake import Lake

CONNECTIONS = 3


class Readers:
    """Connections to one lake, opened when they are first needed; a thread takes one for as long as it reads."""

    def __init__(self, where: str, connections: int = CONNECTIONS) -> None:
        """Raises:
        FactoryError: there is no lake at `where`, or it cannot be read.
        """
        self.where = where
        self._free: LifoQueue[Lake | None] = LifoQueue()
        for _ in range(connections - 1):
            self._free.put(None)
        self._free.put(Lake.open(where, read_only=True))

    @contextmanager
    def lake(self) -> Iterator[Lake]:
        """A connection of this thread's own, until the context is left."""
        free = self._free.get()
        try:
            if free is None:
                free = Lake.open(self.where, read_only=True)
            yield free
        finally:
            self._free.put(free)

    def close(self) -> None:
        while not self._free.empty():
            if (lake := self._free.get()) is not None:
                lake.close()


def within(lake: Lake, seconds: float, text: str, parameters: Mapping[str, Any] | None = None) -> pa.Table | None:
    """A query's rows; None: it took longer than `seconds`, and was interrupted."""
    ended = Event()

    def interrupt() -> None:
        ended.set()
        lake.connection.interrupt()

    timer = Timer(seconds, interrupt)
    timer.start()
    try:
        return lake.query(text, parameters)
    except duckdb.InterruptException:
        if not ended.is_set():
            raise
        return None
    finally:
        timer.cancel()
        timer.join()
