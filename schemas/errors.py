"""The error a user can mend."""

import difflib
from collections.abc import Iterable


class FactoryError(Exception):
    """One sentence: what is wrong, where, and how to mend it.

    The command line prints the sentence and exits with 1; a traceback is shown under `--debug` only.
    Raise it at the edge that knows the cause, `from` the cause, and never put a key into it.
    """


def nearest(given: str, known: Iterable[str], otherwise: str = "it takes") -> str:
    """How an error about a name ends: "did you mean 'depth'?", or where nothing is near, all that is known."""
    names = list(known)
    near = difflib.get_close_matches(given, names, 1)
    return f"did you mean {near[0]!r}?" if near else f"{otherwise} {', '.join(names)}"
