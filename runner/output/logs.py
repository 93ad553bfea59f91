"""Log records as lines, for people and for programs; no name in them spans lines, and no password is shown."""

import json
import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum

from runner.model.secrets import scrub
from runner.model.subject import current_subject
from runner.output.text import harmless

# Of syslog(3), by the least level.
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))


class LogFormat(StrEnum):
    """How log lines are written."""

    TEXT = "text"
    JSON = "json"


def make_formatter(fmt: LogFormat | None, *, to_journal: bool = False) -> logging.Formatter:
    """Make what writes records as lines.

    Args:
        fmt: How; None for messages of a command among its others, which are not a log.
        to_journal: Whether they go to systemd's journal, which keeps the time and, by a prefix, the level.
    """
    if fmt is LogFormat.JSON:
        return JsonLine()
    if fmt is None:
        return _TextLine(lambda _: "runner: ")
    # Each line is an entry of the journal and needs its priority.
    return _TextLine(_priority, repeated=True) if to_journal else _TextLine(_time_and_level)


def goes_to_journal(environment: Mapping[str, str], descriptor: int) -> bool:
    """Return whether systemd connected a stream to its journal; see JOURNAL_STREAM in systemd.exec(5).

    The variable alone is not enough: a process that inherits it may write to a file.
    """
    try:
        stream = os.fstat(descriptor)
    except OSError:  # closed
        return False
    return environment.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"


def add_subject(record: logging.LogRecord) -> bool:
    """Set ``job`` and ``run`` of a record, unless ``extra`` did; a filter, called in the thread that logs."""
    subject = current_subject()
    if not hasattr(record, "job"):
        record.job = subject.job if subject is not None else None
        record.run = subject.run if subject is not None else None
    return True


def _message(record: logging.LogRecord) -> str:
    """Return the message in one line, without control characters, surrogates and passwords."""
    return harmless(scrub(record.getMessage()))


def _traceback(record: logging.LogRecord) -> list[str]:
    """Return the lines of the traceback of this process or of a trial process, if there is one."""
    text = getattr(record, "traceback", None) or ""
    if record.exc_info:
        text = logging.Formatter().formatException(record.exc_info)
    return [harmless(line) for line in scrub(text).rstrip("\n").split("\n")] if text else []


def _subject_of(record: logging.LogRecord) -> tuple[str | None, int | None]:
    job = getattr(record, "job", None)
    return None if job is None else harmless(job), getattr(record, "run", None)


class _TextLine(logging.Formatter):
    """``2026-11-22T10:00:00+0000 INFO docs run 12: succeeded in 0.1 s``; a traceback follows, indented."""

    def __init__(self, prefix: Callable[[logging.LogRecord], str], *, repeated: bool = False) -> None:
        super().__init__()
        self._prefix, self._repeated = prefix, repeated

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; further lines are indented, so that the text of an error can't look like a message."""
        prefix, (job, run) = self._prefix(record), _subject_of(record)
        about = "" if job is None else f"{job}: " if run is None else f"{job} run {run}: "
        indent = f"{prefix if self._repeated else ''}    "
        return "\n".join((f"{prefix}{about}{_message(record)}", *(f"{indent}{line}" for line in _traceback(record))))


def _time_and_level(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created).astimezone()
    return f"{at:%Y-%m-%dT%H:%M:%S%z} {record.levelname} "


def _priority(record: logging.LogRecord) -> str:
    """Return ``<6>``, which the journal takes for the priority; see sd-daemon(3)."""
    return f"<{next(priority for level, priority in _PRIORITIES if record.levelno >= level)}>"


class JsonLine(logging.Formatter):
    """One object a line, always with the same keys, in ASCII alone.

    ``at`` is an instant in UTC, ``level`` one of debug, info, warning, error and critical; ``job``, ``run`` and
    ``traceback`` are null where there is none.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        at = datetime.fromtimestamp(record.created, UTC).replace(tzinfo=None)
        job, run = _subject_of(record)
        line = {
            "at": at.isoformat(timespec="milliseconds") + "Z",
            "level": record.levelname.lower(),
            "message": _message(record),
            "job": job,
            "run": run,
            "traceback": "\n".join(_traceback(record)) or None,
        }
        return json.dumps(line, allow_nan=False)
