"""A child process that ends with its parent, however that ends."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def end_with(parent_pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Has Linux send this process `number` when the thread that started it ends; elsewhere does nothing."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent_pid:  # it died before the signal was requested
        os.kill(os.getpid(), number)
