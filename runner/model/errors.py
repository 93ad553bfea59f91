"""Errors that reach a person: one line that says what is wrong and what to do.

Every class takes its message positionally, so that an error survives pickling out of another process.
"""


class RunnerError(Exception):
    """Anything runner reports in one line instead of with a traceback."""

    exit_code = 1


def reason_of(error: BaseException) -> str:
    """Give what an error says; want of memory says nothing of itself."""
    return str(error) or "there is not enough memory"


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


class ScanError(RunnerError):
    """A scan could not be finished: the root is missing, a worker died, the time was up."""


class DaemonError(RunnerError):
    """A daemon is already running, or none is."""
