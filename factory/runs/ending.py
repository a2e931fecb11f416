"""How a run or a loop ends, as its row says it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import duckdb

from factory.inference.budget import BudgetReached
from schemas import signals
from schemas.errors import FactoryError


@contextmanager
def end_noted(note: Callable[[str, str], None], stops: tuple[type[FactoryError], ...] = ()) -> Iterator[None]:
    """Notes what ends the block before its end: stopped (a signal, the budget, or one of `stops`) or failed.

    Args:
        note: receives the status and the reason; what it fails with must not hide what ended the block.
    """
    try:
        yield
    except (KeyboardInterrupt, FactoryError) as error:
        stopped = isinstance(error, (KeyboardInterrupt, BudgetReached, *stops))
        reason = str(error) if isinstance(error, FactoryError) else signals.told()
        with suppress(FactoryError, duckdb.Error):
            note("stopped" if stopped else "failed", reason)
        raise
