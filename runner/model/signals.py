"""Signals: what they are called, whether anyone is left to be sent one, and who was stopped by one."""

import os
import signal

from runner.model.processes import process_stat


def signal_name(number: int) -> str:
    """Name a signal, ``SIGKILL``; most real-time signals have only numbers."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def is_known_stopped(pid: int) -> bool:
    """Whether a process is known to have been stopped, and not continued.

    Linux tells it of every process; macOS of this one's own children alone, thus of no child of a fork server, and of
    none before Python 3.13.
    """
    stat = process_stat(pid)
    return stat[0] == b"T" if stat is not None else _is_stopped_child(pid)


def _is_stopped_child(pid: int) -> bool:
    if not hasattr(os, "waitid"):
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
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
