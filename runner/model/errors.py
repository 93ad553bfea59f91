"""Errors that reach a person: one line that says what is wrong and what to do.

Every class takes its message positionally, so that an error survives pickling out of another process.
"""

import errno
import os


class RunnerError(Exception):
    """Anything runner reports in one line instead of with a traceback."""

    exit_code = 1


class UsageError(RunnerError):
    """Wrong usage, settings or input: a bad schedule or pattern, an unknown job or run."""

    exit_code = 2


class Unknown(UsageError):
    """A job, a run or a calibration that the database does not have."""


class HistoryError(RunnerError):
    """The database could not be used: locked, full, unreadable, damaged."""


class LockHeld(HistoryError):
    """Another process holds a lock alone."""


class DatabaseUnusable(HistoryError):
    """The database named by the user is not one runner can open: a directory, not SQLite, from a newer runner."""

    exit_code = 2


class NotWritable(HistoryError):
    """The database can be read, but not be written here."""


class ScanError(RunnerError):
    """A scan could not be finished: the root is missing, a worker died, the time was up."""


class DaemonError(RunnerError):
    """A daemon is already running, or none is."""


# What the machine lacks for a while, or refuses on its own account: no fault of what was asked for.
_CONDITIONS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN),
    *(errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EINTR, errno.ENOLCK, errno.ENODEV, errno.ENXIO),
}
# The same in the words of Python, the C library and its loader, where there is no number.
_CONDITION_TEXTS = (
    "MemoryError",
    "can't start new thread",
    "failed to map segment",
    "error return without exception set",  # from CPython when it lacks memory for an import
    *map(os.strerror, (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOSPC)),
)


def is_condition(error: BaseException | None) -> bool:
    """Return whether an error of the system is a condition of the machine, which may pass, and not a wrong input."""
    if isinstance(error, RuntimeError | ImportError | SystemError):
        return is_condition_text(str(error))
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _CONDITIONS)


def is_condition_text(said: str) -> bool:
    """Return whether what a program wrote names a condition of the machine."""
    return any(text in said for text in _CONDITION_TEXTS)


def reason_of(error: BaseException | None) -> str:
    """Return in one line what an error says; for one that says nothing, what it is."""
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    said = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(said.split()) or (type(error).__name__ if error is not None else "an unknown error")


def ran_short(error: BaseException) -> ScanError:
    """Return what a scan fails with that met a condition of the machine."""
    if isinstance(error, MemoryError):
        return ScanError("the scan ran out of memory; free some, or scan a smaller tree")
    return ScanError(f"the scan ran short: {reason_of(error)}; raise the limit or run fewer at a time")
