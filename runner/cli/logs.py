"""Logging to stderr in the chosen format."""

import logging
import os
import sys
import threading

from runner.model.errors import is_condition, reason_of
from runner.model.secrets import scrub
from runner.output.logs import JsonLine, LogFormat, add_subject, goes_to_journal, make_formatter
from runner.output.text import harmless

_STDERR = 2


def log_to_stderr(fmt: LogFormat) -> None:
    """Log to stderr, including warnings and the errors of threads."""
    _handle(make_formatter(fmt, to_journal=goes_to_journal(os.environ, _STDERR)), logging.INFO)
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


def _log_ended_thread(ended: threading.ExceptHookArgs) -> None:
    if is_condition(ended.exc_value):
        name = ended.thread.name if ended.thread is not None else "unknown"
        logging.getLogger(__name__).critical("the thread %s ended: %s", name, reason_of(ended.exc_value))
    elif ended.exc_value is not None and not issubclass(ended.exc_type, SystemExit):
        name = ended.thread.name if ended.thread is not None else "unknown"
        logging.getLogger(__name__).critical(
            "a defect in runner ended the thread %s",
            name,
            exc_info=(ended.exc_type, ended.exc_value, ended.exc_traceback),
        )
