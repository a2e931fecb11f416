"""The error a user can fix."""

import difflib
from collections.abc import Iterable


class FactoryError(Exception):
    """One sentence: what is wrong, where, and how to fix it.

    The command line prints the sentence and exits with 1, with a traceback only under `--debug`.
    Raise it where the cause is known, `from` the cause, and never put a key in it.
    """


class Stopped(FactoryError):
    """A signal has stopped the command (Ctrl-C, SIGTERM, SIGHUP): the sentence says what is left and how to go on."""


def nearest(given: str, known: Iterable[str], otherwise: str = "it takes") -> str:
    """How an error about a name ends: "did you mean 'depth'?", or if nothing is close, all known names."""
    names = list(known)
    near = difflib.get_close_matches(given, names, 1)
    return f"did you mean {near[0]!r}?" if near else f"{otherwise} {', '.join(names)}"


def own_words(error: Exception) -> str:
    """The message of an error of DuckDB on one line, without the query that it repeats with a mark below it."""
    return " ".join(line for line in str(error).splitlines() if line.strip() and "^" not in line)
