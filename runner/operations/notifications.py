"""Notifications: the events of a run, and the hook commands for them."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runner.history.contents import list_changes, list_problems
from runner.history.database import Database, Reader
from runner.history.notifications import (
    BAD,
    GOOD,
    find_last_ended,
    find_last_good,
    last_notified_run,
    record_notification,
)
from runner.history.retries import is_settled
from runner.history.runs import get_run, is_comparable, list_differences, list_runs_before
from runner.history.timings import list_acknowledged, list_timings
from runner.model.errors import HistoryError
from runner.model.jobs import Event, Job, Notify
from runner.model.notifications import Notification
from runner.model.runs import Change, Difference, Problem, Run, Status
from runner.operations.hook_command import HookResult, run_hook
from runner.trends.report import Metric, find_regressions, newest_series

_log = logging.getLogger(__name__)

# The defaults of `runner regressions`.
_SLOWER_BY = 0.2
_METRIC = Metric.PER_ENTRY
# A year of hourly runs; `runner regressions` reads all.
_MAX_TIMINGS = 10_000
# More attempts than a firing can have.
_MAX_ATTEMPTS = 200

Describe = Callable[[Run, Sequence[Change], Sequence[Problem], Sequence[Difference]], Mapping[str, Any]]


def find_due(database: Reader, job: Job, run: Run) -> list[Notify]:
    """Find the notifications of a job that are due after its newest run, in the order of registration.

    A failure is due once until a run has succeeded, and not while a retry follows. A slower level is due once as well,
    and later levels are compared with it.
    """
    if run.status not in {*GOOD, *BAD}:
        return []
    is_due: dict[Event, Callable[[Notify], bool]] = {
        Event.FAILURE: lambda notify: _is_first_failure(database, job, run, notify),
        Event.RECOVERY: lambda _: run.status in GOOD and _has_recovered(database, job, run),
        Event.CHANGE: lambda _: bool(run.added or run.removed or run.modified) and is_comparable(database, run),
        Event.SLOW: lambda notify: run.status in GOOD and _is_slower(database, run, notify),
    }
    return [notify for notify in job.spec.notify if is_due[notify.event](notify)]


def _is_first_failure(database: Reader, job: Job, run: Run, notify: Notify) -> bool:
    if run.status not in BAD or not is_settled(job, run):
        return False
    return last_notified_run(database, job.job_id, notify, find_last_good(database, run)) is None


def _has_recovered(database: Reader, job: Job, run: Run) -> bool:
    """Return whether the firing before that of a run failed with its last attempt."""
    for earlier in _earlier_runs(database, run):
        if earlier.status in GOOD:
            return False
        same_firing = run.scheduled_at is not None and run.scheduled_at == earlier.scheduled_at
        if not same_firing and is_settled(job, earlier):
            return True
    return False


def _earlier_runs(database: Reader, run: Run) -> Iterator[Run]:
    """Yield earlier good or bad runs of a job, newest first; mostly one is enough."""
    yield from list_runs_before(database, run.job_id, run.run_id, statuses=(*GOOD, *BAD), limit=1)
    yield from list_runs_before(database, run.job_id, run.run_id, statuses=(*GOOD, *BAD), limit=_MAX_ATTEMPTS)[1:]


def _is_slower(database: Reader, run: Run, notify: Notify) -> bool:
    series = newest_series(list_timings(database, run.job_id, last=_MAX_TIMINGS))
    if not series or series[-1].run != run.run_id:
        return False
    acknowledged = list_acknowledged(database, run.job_id, series[-1].environment, _METRIC.value)
    notified = last_notified_run(database, run.job_id, notify, series[0].run) or 0
    # A level that was notified counts as acknowledged.
    accepted = {timing.strategy: max(notified, acknowledged.get(timing.strategy, 0)) for timing in series}
    return bool(find_regressions(series, over=_SLOWER_BY, metric=_METRIC, accepted=accepted))


@dataclass(frozen=True, slots=True)
class Notifier:
    """Sends the notifications of runs and records them.

    Attributes:
        database: The history.
        describe: Returns a run's record, with changes, problems and differences.
        stop: Returns a status to end the current hook; polled.
    """

    database: Database
    describe: Describe
    stop: Callable[[], Status | None] = lambda: None

    def notify(self, job: Job, run_id: int) -> bool:
        """Send the notifications of a saved run; return whether they could be determined."""
        if not job.spec.notify or self.stop() is not None:
            return True
        try:
            with self.database.view() as view:
                run = get_run(view, run_id)
                due = find_due(view, job, run)
        except HistoryError as error:
            _log.error("notifications for run %d could not be determined: %s", run_id, error)
            return False
        for notify in due:
            self._send(job, run, notify)
        return True

    def notify_pending(self, job: Job) -> None:
        """Send the notification of the last run's failure, if the run's process could not."""
        if not any(notify.event is Event.FAILURE for notify in job.spec.notify):
            return
        try:
            with self.database.view() as view:
                run = find_last_ended(view, job.job_id)
                due = find_due(view, job, run) if run is not None and run.status in BAD else []
        except HistoryError as error:
            _log.error("notifications for the last run could not be determined: %s", error)
            return
        for notify in due:
            if run is not None and notify.event is Event.FAILURE:
                self._send(job, run, notify)

    def _send(self, job: Job, run: Run, notify: Notify) -> None:
        if self.stop() is not None:
            return
        started_at = datetime.now(UTC)
        variables = {"RUNNER_EVENT": notify.event.value, "RUNNER_JOB": job.spec.name, "RUNNER_RUN": str(run.run_id)}
        try:
            text = self._render(run, notify.event)
            result = run_hook(notify.command, text, variables, lambda: self.stop() is not None)
            record_notification(
                self.database,
                run.run_id,
                Notification(
                    event=notify.event,
                    command=notify.command,
                    started_at=started_at,
                    wall_s=result.wall_s,
                    exit_code=result.exit_code,
                    message=result.message,
                ),
            )
        except HistoryError as error:
            _log.error("a notification for run %d could not be recorded: %s", run.run_id, error)
        else:
            _report(run, notify, result)

    def _render(self, run: Run, event: Event) -> bytes:
        with self.database.view() as view:
            changes = list_changes(view, run.job_id, run.run_id - 1, run.run_id)
            record = self.describe(run, changes, list_problems(view, run), list_differences(view, run))
        return json.dumps({**record, "event": event.value}).encode() + b"\n"


def _report(run: Run, notify: Notify, result: HookResult) -> None:
    """Log the result without the hook's arguments and output, which may be confidential."""
    if result.exit_code == 0:
        _log.info("%s notification sent to %s", notify.event.value, notify.command[0])
    else:
        error = result.error or f"ended with {result.exit_code}"
        _log.warning(
            "%s notification failed: %s %s; see `runner show %d`",
            notify.event.value,
            notify.command[0],
            error,
            run.run_id,
        )
