"""The log context: job and run of the log lines of a thread."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Subject:
    """A job, and its run once that has a number."""

    job: str
    run: int | None


_subject: ContextVar[Subject | None] = ContextVar("subject", default=None)
current_subject = _subject.get


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
    if (subject := current_subject()) is not None:
        subject.run = run
