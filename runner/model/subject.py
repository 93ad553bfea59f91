"""The log context: job and run of the log lines of a thread."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Subject:
    """A job, and its run once that has a number."""

    __slots__ = ("job", "run")

    def __init__(self, job: str, run: int | None) -> None:
        self.job = job
        self.run = run


_subject: ContextVar[Subject | None] = ContextVar("subject", default=None)


@contextmanager
def log_context(job: str, run: int | None = None) -> Iterator[None]:
    """Set the job and run of log lines of this thread within a block."""
    token = _subject.set(Subject(job, run))
    try:
        yield
    finally:
        _subject.reset(token)


def note_run(run: int) -> None:
    """Set the run of log lines until the end of the block; errors of the run are logged later, further up."""
    subject = _subject.get()
    if subject is not None:
        subject.run = run


def current_subject() -> Subject | None:
    """Return the job and run of this thread's log lines, if any."""
    return _subject.get()
