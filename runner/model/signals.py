"""Signals: what they are called, and whether anyone is left to be sent one."""

import os
import signal


def signal_name(number: int) -> str:
    """Name a signal, ``SIGKILL``; most real-time signals have only numbers."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def signal_group(leader: int, number: int) -> bool:
    """Signal the process group that a process leads, or led; returns whether anyone was left in it.

    The kernel gives the group's number to nobody else while a member lives.
    """
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):  # macOS answers EPERM when only zombies are left
        return False
    return True
