"""A child process that ends with its parent, however that ends."""

import ctypes
import os
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def end_with(parent_pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Has Linux send this process `number` when the thread that started it ends; elsewhere does nothing."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent_pid:  # it died before the signal was requested
        os.kill(os.getpid(), number)


def die_with(parent_pid: int) -> None:
    """Ends this process with its parent: by a signal on Linux, and everywhere when standard input closes.

    It needs both: a forked sibling may hold the pipe's other end, and only Linux has the signal (sent when the thread
    that started the child ends: here the event loop's).
    """
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    end_with(parent_pid)
