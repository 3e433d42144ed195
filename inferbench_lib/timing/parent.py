"""A child process that ends when its parent does, also when the parent was killed."""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(parent_pid: int, *, started_by_main_thread: bool) -> None:
    """On Linux, has the kernel kill this process when its parent ends; leaves Ctrl-C to the parent.

    The kernel watches the *thread* that started this process (see prctl(2)), so it is asked only where that is the
    parent's main thread. A child must watch a pipe from its parent as well.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "linux" or not started_by_main_thread:
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it ended before the kernel was asked
        os._exit(1)
