"""Errors that reach a person: one line that says what is wrong and what to do.

Every class takes its message positionally, so that an error survives pickling out of another process.
"""

import errno


class RunnerError(Exception):
    """Anything runner reports in one line instead of with a traceback."""

    exit_code = 1


def reason_of(error: BaseException) -> str:
    """Give what an error says; want of memory says nothing of itself."""
    return str(error) or "there is not enough memory"


# What the machine lacks for a while, or refuses on its own account: no fault of what was asked for.
_CONDITIONS = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.EAGAIN,
        errno.EINTR,
        errno.ENOLCK,
        errno.ENODEV,
        errno.ENXIO,
    }
)


def is_condition(error: BaseException) -> bool:
    """Return whether an error of the system is a condition of the machine, which may pass, and not a wrong input."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _CONDITIONS)


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
    """The database named by the user is not one runner can open: a folder, not SQLite, from a newer runner."""

    exit_code = 2


class NotWritable(HistoryError):
    """The database can be read, but not be written here."""


class ScanError(RunnerError):
    """A scan could not be finished: the root is missing, a worker died, the time was up."""


class DaemonError(RunnerError):
    """A daemon is already running, or none is."""
