"""What a log line is about: a job and its run, known to whatever is logged in their course however deep below."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Subject:
    """A job, and its run as soon as that has a number."""

    __slots__ = ("job", "run")

    def __init__(self, job: str, run: int | None) -> None:
        self.job = job
        self.run = run


_subject: ContextVar[Subject | None] = ContextVar("subject", default=None)


@contextmanager
def log_context(job: str, run: int | None = None) -> Iterator[None]:
    """Let what this thread logs meanwhile be about a job, and a run of it."""
    token = _subject.set(Subject(job, run))
    try:
        yield
    finally:
        _subject.reset(token)


def note_run(run: int) -> None:
    """Let what is logged from here on, until the job is done with, be about this run of it as well.

    It has no end of its own: whoever logs an error that the run raised does so later, further up.
    """
    subject = _subject.get()
    if subject is not None:
        subject.run = run


def current_subject() -> Subject | None:
    """Tell what this thread's log lines are about; None for nothing in particular."""
    return _subject.get()
