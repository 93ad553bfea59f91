"""Writing the daemon's figures into a file, on a thread of its own that nothing else waits for."""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from runner.history.database import Database
from runner.model.errors import DaemonError, HistoryError, UsageError, is_condition, reason_of
from runner.model.file_replacement import remove_leftovers, replace_file
from runner.model.links import open_parent
from runner.model.metrics import Metrics
from runner.operations.metrics_collector import Figures

_log = logging.getLogger(__name__)

_EVERY_S = 15.0
# Runs may end many times a second, and each writing takes time from those that are measured.
_PAUSE_S = 1.0
# How long a daemon that stops waits for the last writing; a disk may hang.
_GRACE_S = 3.0


class MetricsWriter:
    """Writes the figures at least every fifteen seconds, and soon after each run.

    Args:
        database: What is measured.
        path: The file, which is replaced as a whole.
        render: Makes the file's text.

    Raises:
        UsageError: If there can't be such a file.
        DaemonError: If there can't be one for now.
    """

    def __init__(self, database: Database, path: str, render: Callable[[Metrics], str]) -> None:
        self._database = database
        self._path = _check(path)
        self._render = render
        self._figures: Figures | None = None
        self._alive_at = datetime.now(UTC)
        self._woken = threading.Event()
        self._stopping = threading.Event()
        # Not waited for when the process ends: a disk that hangs must not keep it.
        self._thread = threading.Thread(target=self._work, name="metrics", daemon=True)
        self._failed = ""

    def start(self) -> None:
        """Begin to count and to write.

        Raises:
            HistoryError: If the database can't be read.
        """
        remove_leftovers(self._path)
        self._alive_at = datetime.now(UTC)
        self._figures = Figures(self._database, self._alive_at)
        self._thread.start()

    def note_alive(self) -> None:
        """Note that the scheduler has given a sign of life."""
        self._alive_at = datetime.now(UTC)

    def wake(self) -> None:
        """Write soon: something has happened."""
        self._woken.set()

    def stop(self) -> None:
        """Write a last time that the daemon is not up any more; an error of the disk or the database is no obstacle."""
        if self._thread.ident is None:
            return
        self._stopping.set()
        self._woken.set()
        self._thread.join(_GRACE_S)

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._write(up=True)
            self._stopping.wait(_PAUSE_S)
            self._woken.wait(_EVERY_S - _PAUSE_S)
            self._woken.clear()
        self._write(up=False)

    def _write(self, *, up: bool) -> None:
        assert self._figures is not None  # noqa: S101  the thread starts with it
        try:
            with suppress(HistoryError):  # which the daemon logs; what was known before is written
                self._figures.follow()
            text = self._render(self._figures.metrics(datetime.now(UTC), up=up, alive_at=self._alive_at))
            # After the machine has crashed nobody wants the figures from before.
            replace_file(self._path, text.encode(), durable=False)
        except (OSError, MemoryError) as error:
            self._note_failure(f"the metrics file {self._path} can't be written: {reason_of(error)}; trying again")
        except Exception:  # noqa: BLE001  the thread must go on
            _log.exception("a defect in runner; the daemon goes on without new metrics")
        else:
            if self._failed:
                _log.info("the metrics file %s is written again", self._path)
            self._failed = ""

    def _note_failure(self, message: str) -> None:
        """Log why the file can't be written, once and not every fifteen seconds."""
        if message != self._failed:
            _log.error("%s", message)
        self._failed = message


def _check(given: str) -> Path:
    """Return the file that a person means; what a link of this user or of root leads to is replaced.

    Raises:
        UsageError: If there can't be such a file.
        DaemonError: If there can't be one for now.
    """
    if not given:
        raise UsageError("the path of the metrics file is empty; name a file, or leave it out")
    named = os.path.expanduser(given)  # noqa: PTH111
    path = Path(os.path.realpath(named))
    folder = f"the metrics file's folder {path.parent}"
    try:
        with open_parent(named, follow=True) as (directory, _):
            read_only = os.fstatvfs(directory).f_flag & os.ST_RDONLY
        is_other = path.exists() and not path.is_file()
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{folder} does not exist; create it, or choose another file") from None
    except (OSError, ValueError) as error:
        reason = reason_of(error)
        kind = DaemonError if is_condition(error) else UsageError
        raise kind(f"the metrics file {named} can't be used: {reason}; choose another file") from None
    if is_other:
        raise UsageError(f"the metrics file {path} is not a regular file; choose another")
    if read_only:
        raise DaemonError(f"{folder} is mounted read-only; make it writable, or choose another file")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(f"{folder} can't be written to; choose another file")
    return path
