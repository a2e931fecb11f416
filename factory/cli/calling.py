"""Calls a command: its streams, and how what it ends with becomes a sentence and an exit code."""

import errno
import sys
from collections.abc import Callable, Sequence
from typing import Any

from schemas import signals
from schemas.errors import FactoryError, Stopped
from schemas.streams import standard_streams, visible


def call(words: Sequence[str], command: Callable[..., Any] | None) -> int:
    """Runs the command line and returns its exit code.

    Args:
        command: by default, all commands.
    """
    # `--debug` may stand anywhere: people append it to the command that just failed.
    ordered = sorted(words, key=lambda word: word != "--debug")
    with standard_streams():
        code = _run(ordered, command)
        sys.stdout.flush()  # here, where a full disk can still be told of
    return code


def _run(words: list[str], command: Callable[..., Any] | None) -> int:
    """The exit code of a command. Once a signal has come, nothing is told but the sentence of what it stopped."""
    try:
        code = _called(words, command)
        return code if signals.received() is None else signals.exit_code()
    except Stopped as error:
        _tell(error, words)
        return signals.exit_code()
    except KeyboardInterrupt:
        return signals.exit_code()
    except Exception as error:
        if signals.received() is not None:
            return signals.exit_code()
        if "--debug" in words or not _is_for_people(error):
            raise
        _tell(error, words)
        return 1


def _called(words: list[str], command: Callable[..., Any] | None) -> int:
    import typer.rich_utils
    from typer._click.exceptions import ClickException

    if command is None:
        from factory.cli.commands import app

        command = app
    try:
        return int(command(words, standalone_mode=False) or 0)
    except ClickException as error:  # how the command was typed
        error.message = visible(error.message)
        typer.rich_utils.rich_format_error(error)
        return error.exit_code


def _is_for_people(error: Exception) -> bool:
    if isinstance(error, OSError):
        return bool(error.filename) or error.errno == errno.ENOSPC
    return isinstance(error, FactoryError)


def _tell(error: Exception, words: list[str]) -> None:
    """One line: a message may quote a file or an endpoint."""
    text = " ".join(visible(_sentence(error)).split())
    if "--log-format json" in " ".join(words).replace("=", " "):
        from factory.monitor.event_log import write_event

        write_event("error", message=text)
        return
    from rich.text import Text

    from factory.monitor.console import Console

    Console(stderr=True, soft_wrap=True).print(Text.assemble(("error:", "red"), " ", text))


def _sentence(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    advice = "free some space" if error.errno == errno.ENOSPC else "give another path, or change its permissions"
    return f"{error.filename or 'a file'} cannot be used: {error.strerror}; {advice}"
