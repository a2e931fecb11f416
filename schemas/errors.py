"""The error a user can mend."""


class FactoryError(Exception):
    """One sentence: what is wrong, where, and how to mend it.

    The command line prints the sentence and exits with 1; a traceback is shown under `--debug` only.
    Raise it at the edge that knows the cause, `from` the cause, and never put a key into it.
    """
