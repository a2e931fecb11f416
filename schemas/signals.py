"""Ctrl-C (SIGINT), SIGTERM and SIGHUP: from the first line of a program on, each of them ends it, quietly.

While a program imports its modules, nothing is to be brought to an end, and a signal ends the process at once. Inside
`raised`, it raises KeyboardInterrupt where the program is, and a second after it the process ends whatever it is doing:
C code that calls Python (DuckDB, an import) may swallow the exception or turn it into an error of its own. What has
rows to write takes its time with `in_order`, and asks with `check`. Exit codes are 128 + signal, as in a shell.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TYPE_CHECKING = False  # typing's, but importing that takes long enough for a Ctrl-C
if TYPE_CHECKING:
    import asyncio
    from types import FrameType
    from typing import Any

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
GRACE_S = 1.0
"""How long a program has to end by itself."""
TIDY_S = 5.0
"""The same after an `in_order` block: sentences, and what the block had open."""
ONE_PRESS_S = 0.5
"""Signals this close together are one: Ctrl-C may arrive from the terminal and from a parent, SIGTERM with SIGHUP."""
SHOW_CURSOR = b"\x1b[?25h"


class _State:
    received: signal.Signals | None = None
    """the first signal"""
    at_s = 0.0
    listening = False
    raises = False
    """inside `raised`"""
    unhurried = 0
    """blocks of `in_order`"""
    task: asyncio.Task[Any] | None = None


def listen() -> None:
    """Takes the signals of this process, except those that its parent has made it ignore (nohup)."""
    if threading.current_thread() is threading.main_thread():
        _State.listening = True
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _on_signal)


def listen_again() -> None:
    """After a library has put its own handlers in the place of those of `listen`."""
    if _State.listening:
        listen()


@contextmanager
def raised() -> Iterator[None]:
    """Inside, a signal raises KeyboardInterrupt; before and after, with `listen`, it ends the process at once.

    Once one has come, the process ends with the block: threads may still wait for something, and where the exception
    passed an `exec`, as in a dataclass, Python would later kill itself.
    """
    try:
        _State.raises = True
        yield
    except KeyboardInterrupt:
        if _State.received is None:
            raise
    finally:
        _State.raises = False
        if _State.received is not None:
            _exit()


def received() -> signal.Signals | None:
    """The signal that ends this process, if one has come."""
    return _State.received


def told() -> str:
    """What has stopped this process, for people."""
    number = _State.received or signal.SIGINT
    return "stopped by Ctrl-C" if number == signal.SIGINT else f"stopped by {number.name}"


def exit_code() -> int:
    """128 + the signal that has stopped this process."""
    return 128 + (_State.received or signal.SIGINT)


def check() -> None:
    """Raises:
    KeyboardInterrupt: a signal has come, and what it raised may have been lost.
    """
    if _State.received is not None:
        raise KeyboardInterrupt(told())


@contextmanager
def in_order() -> Iterator[None]:
    """A block that ends in its own time once a signal has come: it has rows to write. A second signal cuts it short.

    Raises:
        KeyboardInterrupt: a signal has come; also instead of any other error than the project's own that it led to.
    """
    _State.unhurried += 1
    try:
        check()
        yield
        check()
    except Exception as error:
        from schemas.errors import FactoryError

        if _State.received is None or isinstance(error, FactoryError):
            raise
        # DuckDB's RuntimeError("Query interrupted"), or what half an import leads to.
        raise KeyboardInterrupt(told()) from error
    finally:
        _State.unhurried -= 1
        if _State.received is not None and not _State.unhurried:
            _end_soon(TIDY_S)


@contextmanager
def cancelled_by_signals() -> Iterator[None]:
    """Inside, a signal cancels the current task; without `listen`, asyncio does that for Ctrl-C itself."""
    import asyncio

    before, _State.task = _State.task, asyncio.current_task()
    try:
        check()
        yield
    except asyncio.CancelledError:
        check()
        raise
    finally:
        _State.task = before


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _State.received is not None:
        if time.monotonic() - _State.at_s > ONE_PRESS_S:
            _exit()
        return
    _State.received, _State.at_s = signal.Signals(number), time.monotonic()
    if not _State.raises:
        _exit()
    if _State.task is not None:
        _State.task.get_loop().call_soon_threadsafe(_State.task.cancel)
        return
    if not _State.unhurried:
        _end_soon(GRACE_S)
    raise KeyboardInterrupt(told())


def _end_soon(grace_s: float) -> None:
    def wait() -> None:
        time.sleep(grace_s)
        if not _State.unhurried:
            _exit()

    # Not threading.Thread: its start takes locks that the interrupted code may hold.
    _thread.start_new_thread(wait, ())


def _exit() -> None:
    with suppress(OSError):
        if os.isatty(2):
            os.write(2, SHOW_CURSOR)  # a live display may have hidden it
    os._exit(exit_code())
