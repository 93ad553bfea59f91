"""Keep the daemon's threads alive when one of their actions fails."""

import logging
from collections.abc import Callable
from contextlib import nullcontext

from runner.model.errors import DaemonError, HistoryError, is_condition, reason_of
from runner.model.jobs import Job
from runner.model.subject import log_context

_log = logging.getLogger(__name__)


def guarded(action: Callable[[], object], job: Job | None = None) -> None:
    """Call *action* and log its errors, with the job's name.

    Raises:
        DaemonError: If another daemon has taken the place of this one.
    """
    with log_context(job.spec.name) if job is not None else nullcontext():
        try:
            action()
        except HistoryError as error:
            _log.error("%s", error)
        except DaemonError:
            raise
        except Exception as error:  # noqa: BLE001  the thread must go on
            if is_condition(error):
                _log.error("%s; the daemon continues", reason_of(error))
            else:
                _log.exception("a defect in runner; the daemon continues")
