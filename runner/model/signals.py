"""Signals: what they are called, whether anyone is left to be sent one, and who was stopped by one."""

import os
import signal


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

    Source:
        proc_pid_stat(5), field 3.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  pathlib takes as long to import as Python to start
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):  # it has been collected, or this is not Linux
        return _is_stopped_child(pid)
    # The name in front may hold anything, parentheses and blanks too.
    return stat[stat.rindex(b")") + 2 :].startswith(b"T")


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
