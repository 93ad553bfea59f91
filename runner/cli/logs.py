"""Where log lines go: to stderr, in the format that was chosen."""

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
    """Write what is logged to stderr from here on, and whatever else would get there past the log."""
    _handle(make_formatter(fmt, to_journal=goes_to_journal(os.environ, _STDERR)), logging.INFO)
    # Their own lines speak of jobs and contexts that are not runner's.
    for library in ("apscheduler", "alembic"):
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    threading.excepthook = _log_ended_thread


def warn_on_stderr() -> None:
    """Write warnings and errors that are logged among a command's messages, unless there is a log already."""
    _handle(make_formatter(None), logging.WARNING)


def _handle(formatter: logging.Formatter, level: int) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    handler.addFilter(add_subject)
    logging.basicConfig(level=level, handlers=[handler])
    # What can't be logged, on a stream that is full or gone, would be told on the very same, unformatted.
    logging.raiseExceptions = False


def write_last_line(message: str) -> None:
    """Write the one line that says why this process fails, as a log record where stderr is a log of JSON."""
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
