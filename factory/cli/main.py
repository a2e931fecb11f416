"""The command line: each command parses, calls one function and prints one result.

Imports next to nothing, so that Ctrl-C is heeded while the rest is imported.
"""

import sys
from collections.abc import Callable

from schemas import signals


def main(arguments: list[str] | None = None, command: Callable[..., object] | None = None) -> None:
    """Runs the command line; an error that a person can fix is one sentence and exit code 1.

    Args:
        arguments: by default, the process's own, whose signals it then heeds.
        command: by default, all commands.
    """
    if arguments is None:  # else this process is somebody else's
        signals.listen()
    from factory.cli.calling import call

    with signals.raised():
        code = call(sys.argv[1:] if arguments is None else arguments, command)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
