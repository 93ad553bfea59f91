"""Signals: their names, sending them to a group, and stopped processes."""

import os
import signal

from runner.model.processes import process_stat


def signal_name(number: int) -> str:
    """Return the name of a signal, ``SIGKILL``, or its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def is_known_stopped(pid: int) -> bool:
    """Return whether a process is known to be stopped by a signal.

    Linux knows it of every process; macOS only of children of this process, and only from Python 3.13 on.
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
    """Send a signal to the group of a leader; return whether a member was left.

    The kernel does not reuse the number of a group while a member lives.
    """
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):  # macOS answers EPERM when only zombies are left
        return False
    return True
