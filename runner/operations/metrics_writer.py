"""The metrics file, written on a thread of its own that nothing else waits for."""

import logging
import os
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from runner.history.database import Database
from runner.model.errors import DaemonError, HistoryError, UsageError, is_condition, reason_of
from runner.model.file_replacement import remove_leftovers, replace_file
from runner.model.links import open_parent
from runner.operations.metrics_collector import MetricsCollector
from runner.operations.metrics_text import metrics_text

_log = logging.getLogger(__name__)

_INTERVAL_S = 15.0
# The least interval: many runs may end in a second, and each write disturbs their timings.
_MIN_INTERVAL_S = 1.0
# How long a stopping daemon waits for the last write; a disk may hang.
_GRACE_S = 3.0


class MetricsWriter:
    """Writes the metrics every fifteen seconds, and soon after each run, to a file that is replaced as a whole.

    Raises:
        UsageError: If the path can't be used, or DaemonError if it can't be used for now.
    """

    def __init__(self, database: Database, path: str) -> None:
        self._database = database
        self._path = _check(path)
        self._collector: MetricsCollector | None = None
        self._alive_at = datetime.now(UTC)
        self._woken = threading.Event()
        self._stopping = threading.Event()
        # A daemon thread: a hanging disk must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="metrics", daemon=True)
        self._failed = ""

    def start(self) -> None:
        """Start to collect and to write.

        Raises:
            HistoryError: If the database can't be read.
        """
        remove_leftovers(self._path)
        self.note_alive()
        self._collector = MetricsCollector(self._database, self._alive_at)
        self._thread.start()

    def note_alive(self) -> None:
        """Record a heartbeat of the scheduler."""
        self._alive_at = datetime.now(UTC)

    def wake(self) -> None:
        """Write soon: a run has ended."""
        self._woken.set()

    def stop(self) -> None:
        """Write a last time, with ``runner_up`` 0, and stop."""
        if self._thread.ident is not None:
            self._stopping.set()
            self._woken.set()
            self._thread.join(_GRACE_S)

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._write(up=True)
            self._stopping.wait(_MIN_INTERVAL_S)
            self._woken.wait(_INTERVAL_S - _MIN_INTERVAL_S)
            self._woken.clear()
        self._write(up=False)

    def _write(self, *, up: bool) -> None:
        assert self._collector is not None  # noqa: S101  the thread starts with it
        try:
            with suppress(HistoryError):  # which the daemon logs; the metrics known before are written
                self._collector.update()
            text = metrics_text(self._collector.samples(datetime.now(UTC), up=up, alive_at=self._alive_at))
            # Not durable: after a crash of the machine old metrics are useless.
            replace_file(self._path, text.encode(), durable=False)
        except (OSError, MemoryError) as error:
            message = f"the metrics file {self._path} can't be written: {reason_of(error)}; trying again"
            if message != self._failed:
                _log.error("%s", message)
            self._failed = message
        except Exception:  # noqa: BLE001  the thread must go on
            _log.exception("a defect in runner; the daemon continues without new metrics")
        else:
            if self._failed:
                _log.info("the metrics file %s is written again", self._path)
            self._failed = ""


def _check(given: str) -> Path:
    """Return the path of the file; the target of a link of this user or of root is replaced."""
    if not given:
        raise UsageError("the path of the metrics file is empty; name a file, or leave it out")
    named = os.path.expanduser(given)  # noqa: PTH111
    path = Path(os.path.realpath(named))
    parent = f"the metrics file's directory {path.parent}"
    try:
        with open_parent(named, follow=True) as (directory, _):
            read_only = os.fstatvfs(directory).f_flag & os.ST_RDONLY
        is_other = path.exists() and not path.is_file()
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{parent} does not exist; create it, or choose another file") from None
    except (OSError, ValueError) as error:
        kind = DaemonError if is_condition(error) else UsageError
        raise kind(f"the metrics file {named} can't be used: {reason_of(error)}; choose another file") from None
    if is_other:
        raise UsageError(f"the metrics file {path} is not a regular file; choose another")
    if read_only:
        raise DaemonError(f"{parent} is mounted read-only; make it writable, or choose another file")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(f"{parent} can't be written to; choose another file")
    return path
