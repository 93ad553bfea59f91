"""Keep the daemon's threads alive when one of their actions fails."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from math import inf

from runner.model.errors import DaemonError, HistoryError, is_condition, reason_of
from runner.model.jobs import Job
from runner.model.subject import current_subject, log_context

_log = logging.getLogger(__name__)

# How often to log an error that lasts, and how long it must not occur to be logged at once again.
_REPEAT_S = 60 * 60.0
_OVER_S = 2 * 60.0


def guarded(action: Callable[[], object], job: Job | None = None, *, defect: str = "the daemon continues") -> bool:
    """Call *action* and log its errors, with the job's name; return whether trying again is of no use.

    Args:
        action: What to do.
        job: The job that it is about.
        defect: The consequence of a defect, for the log.

    Raises:
        DaemonError: If another daemon has taken the place of this one.
    """
    with log_context(job.spec.name) if job is not None else nullcontext():
        try:
            action()
        except HistoryError as error:
            _log.error("%s", error)
            return False
        except DaemonError:
            raise
        except Exception as error:  # noqa: BLE001  the thread must go on
            if is_condition(error):
                _log.error("%s; the daemon continues", reason_of(error))
                return False
            _log.exception("a defect in runner; %s", defect)
            return not isinstance(error, OSError)
    return True


@contextmanager
def repeats_limited() -> Iterator[None]:
    """Log an error that lasts once an hour within the context, and not at each poll."""
    repeats = _Repeats()
    _log.addFilter(repeats)
    try:
        yield
    finally:
        _log.removeFilter(repeats)


class _Repeats(logging.Filter):
    """A filter of messages that were logged before; used by all threads."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        # By message: when it was logged, and when it last occurred.
        self._known: dict[tuple[str, ...], tuple[float, float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a message is new, or was logged long ago."""
        now_s = time.monotonic()
        key = repr(current_subject()), record.getMessage(), repr(record.exc_info and record.exc_info[1])
        with self._lock:
            self._known = {one: known for one, known in self._known.items() if now_s - known[1] < _OVER_S}
            logged_s, _ = self._known.get(key, (-inf, now_s))
            passes = now_s - logged_s >= _REPEAT_S
            self._known[key] = (now_s if passes else logged_s, now_s)
        return passes
