"""Logging to stderr in the chosen format; the last line of a failure, and the traceback of a defect."""

import logging
import os
import sys
import tempfile
import threading
import traceback
from datetime import UTC, datetime

import platformdirs

from runner.model.errors import is_condition, reason_of
from runner.model.links import create_file, open_parent
from runner.model.secrets import scrub
from runner.output.logs import JsonLine, LogFormat, add_subject, goes_to_journal, make_formatter
from runner.output.text import harmless

_STDERR = 2


def log_to_stderr(fmt: str) -> None:
    """Log to stderr as text or json, including warnings and the errors of threads."""
    _handle(make_formatter(LogFormat(fmt), to_journal=goes_to_journal(os.environ, _STDERR)), logging.INFO)
    # Their own lines are about jobs and contexts that are not runner's.
    for library in ("apscheduler", "alembic"):
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    threading.excepthook = _log_ended_thread


def warn_on_stderr() -> None:
    """Log warnings and errors to stderr, unless logging is configured already."""
    _handle(make_formatter(None), logging.WARNING)


def _handle(formatter: logging.Formatter, level: int) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    handler.addFilter(add_subject)
    logging.basicConfig(level=level, handlers=[handler])
    # An error of logging, on a full or closed stream, would be reported on the same stream, unformatted.
    logging.raiseExceptions = False


def write_last_line(message: str) -> None:
    """Write the one line with the reason of a failure; as a log record if stderr is a JSON log."""
    line = " ".join(harmless(scrub(message)).split())
    if any(isinstance(handler.formatter, JsonLine) for handler in logging.getLogger().handlers):
        logging.getLogger(__name__).critical("%s", line)
    else:
        sys.stderr.write(f"runner: {line}\n")


def log_defect() -> str:
    """Write the traceback to a file that only this user can read; return its path."""
    path = platformdirs.user_log_path("runner") / f"defect-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    try:
        with open_parent(os.fspath(path), create=True) as (directory, name):
            descriptor, place = create_file(directory, name), str(path)
    except OSError:
        descriptor, place = tempfile.mkstemp(prefix="runner-defect-", suffix=".log")
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(scrub(traceback.format_exc()))
    return place


def _log_ended_thread(ended: threading.ExceptHookArgs) -> None:
    log = logging.getLogger(__name__)
    name = ended.thread.name if ended.thread is not None else "unknown"
    if is_condition(ended.exc_value):
        log.critical("the thread %s ended: %s", name, reason_of(ended.exc_value))
    elif ended.exc_value is not None and not issubclass(ended.exc_type, SystemExit):
        error = (ended.exc_type, ended.exc_value, ended.exc_traceback)
        log.critical("a defect in runner ended the thread %s", name, exc_info=error)
