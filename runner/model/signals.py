"""Signals: what they are called, whether anyone is left to be sent one, and who was stopped by one."""

import os
import signal


def signal_name(number: int) -> str:
    """Name a signal, ``SIGKILL``; most real-time signals have only numbers."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def is_stopped(child: int) -> bool:
    """Whether a child of this process has been stopped, and not continued; macOS does not tell before Python 3.13."""
    if not hasattr(os, "waitid"):
        return False
    try:
        return os.waitid(os.P_PID, child, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # it has been collected, or is the child of a fork server
        return False


def signal_group(leader: int, number: int) -> bool:
    """Signal the process group that a process leads, or led; returns whether anyone was left in it.

    The kernel gives the group's number to nobody else while a member lives.
    """
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):  # macOS answers EPERM when only zombies are left
        return False
    return True
