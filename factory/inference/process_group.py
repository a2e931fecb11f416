"""`python -m factory.inference.process_group COMMAND...`: a command in a process group that ends with whoever started it.

Told its parent's process id on standard input, it runs the command and ends with its status. When it is told to end
(SIGTERM), when its standard input ends, or when its parent is gone, it ends the command politely and then kills all
that is left of the group: servers have children of their own, which outlive a server that was killed.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

STOP_GRACE_S = 10.0


def main() -> None:
    parent_pid = int(sys.stdin.readline())
    signal.signal(signal.SIGTERM, _told_to_end)
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    if sys.platform == "linux":
        # A forked sibling may hold the other end of standard input: Linux tells of the parent's death besides.
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG in <sys/prctl.h>
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
        if os.getppid() != parent_pid:  # it died before the signal was asked for
            sys.exit(0)
    command = sys.argv[1:]
    environment = {
        **os.environ,
        # The compilers of an environment of its own lie beside the command.
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
    sys.exit(status if status >= 0 else 128 - status)  # as a shell tells of a signal


def _told_to_end(*_: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    sys.exit(0)


def _end_with_standard_input() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
