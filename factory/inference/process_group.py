"""`python -m factory.inference.process_group COMMAND...`: runs a command in a process group that ends with its parent.

Reads its parent's process id from standard input, runs the command and exits with its status. On SIGTERM, when its
standard input closes, or when its parent dies, it terminates the command and then kills the rest of the group:
servers have child processes, which outlive a server that was killed.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from schemas.parents import end_with

STOP_GRACE_S = 10.0


def main() -> None:
    parent_pid = int(sys.stdin.readline())
    signal.signal(signal.SIGTERM, _on_sigterm)
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    end_with(parent_pid, signal.SIGTERM)  # a forked sibling may keep standard input open
    command = sys.argv[1:]
    environment = {
        **os.environ,
        # The compilers in the command's environment are next to it.
        "PATH": os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", os.defpath)]),
    }
    environment.pop("PYTHONPATH", None)  # ours, not the command's
    process: subprocess.Popen[bytes] | None = None
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)
        status = process.wait()
    except SystemExit:
        if process is not None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_GRACE_S)
        os.killpg(0, signal.SIGKILL)
    sys.exit(status if status >= 0 else 128 - status)  # 128 + signal, as in a shell


def _on_sigterm(*_: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # only once
    sys.exit(0)


def _end_with_standard_input() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
