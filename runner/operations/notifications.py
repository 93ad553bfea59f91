"""Notifications: the events of a run, and the hook commands for them."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

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
from runner.model.runs import Change, Difference, Problem, Run, Status
from runner.operations.hook_command import run_hook
from runner.trends.report import Metric, find_regressions, newest_series

_log = logging.getLogger(__name__)

# The defaults of `runner regressions`.
_SLOWER_BY = 0.2
_METRIC = Metric.PER_ENTRY
# A year of hourly runs; `runner regressions` reads all.
_MAX_TIMINGS = 10_000
# More attempts than a firing can have.
_MAX_ATTEMPTS = 200

# Returns the text for a hook, in pieces.
Describe = Callable[[Run, Iterable[Change], Sequence[Problem], Sequence[Difference], Event], Iterable[str]]


def _is_due(database: Reader, job: Job, run: Run, notify: Notify) -> bool:
    """Return whether a notification is due after the newest run of a job.

    A failure is due once until a run has succeeded, and not while a retry follows. A slower level is due once as well,
    and later levels are compared with it.
    """
    if run.status not in {*GOOD, *BAD}:
        return False
    match notify.event:
        case Event.FAILURE:
            is_last = run.status in BAD and is_settled(job, run)
            return is_last and last_notified_run(database, job.job_id, notify, find_last_good(database, run)) is None
        case Event.RECOVERY:
            return run.status in GOOD and _has_recovered(database, job, run)
        case Event.CHANGE:
            return bool(run.added or run.removed or run.modified) and is_comparable(database, run)
        case Event.SLOW:
            return run.status in GOOD and _is_slower(database, run, notify)


def _has_recovered(database: Reader, job: Job, run: Run) -> bool:
    """Return whether the firing before that of a run failed with its last attempt."""
    for limit in (1, _MAX_ATTEMPTS):  # mostly one is enough
        for earlier in list_runs_before(database, run.job_id, run.run_id, statuses=(*GOOD, *BAD), limit=limit):
            if earlier.status in GOOD:
                return False
            same_firing = run.scheduled_at is not None and run.scheduled_at == earlier.scheduled_at
            if not same_firing and is_settled(job, earlier):
                return True
    return False


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
    """Sends the notifications of runs and records them; a status returned by *stop* ends the current hook."""

    database: Database
    describe: Describe
    stop: Callable[[], Status | None] = lambda: None

    def notify(self, job: Job, run_id: int) -> bool:
        """Send the notifications of a saved run; return whether they could be determined."""
        return self._notify(job, list(Event), lambda view: get_run(view, run_id))

    def notify_pending(self, job: Job) -> None:
        """Send the notification of the last run's failure, if the run's process could not."""
        self._notify(job, [Event.FAILURE], lambda view: find_last_ended(view, job.job_id))

    def _notify(self, job: Job, events: Sequence[Event], find_run: Callable[[Reader], Run | None]) -> bool:
        chosen = [notify for notify in job.spec.notify if notify.event in events]
        if not chosen or self.stop() is not None:
            return True
        try:
            with self.database.view() as view:
                run = find_run(view)
                due = [notify for notify in chosen if run is not None and _is_due(view, job, run, notify)]
        except HistoryError as error:
            _log.error("notifications for the last run could not be determined: %s", error)
            return False
        for notify in due:
            if run is not None and self.stop() is None:
                self._send(job, run, notify)
        return True

    def _text(self, run: Run, event: Event) -> Iterator[bytes]:
        with self.database.view() as view:
            changes = list_changes(view, run.job_id, run.run_id - 1, run.run_id)
            lists = changes, list_problems(view, run), list_differences(view, run)
            yield from map(str.encode, self.describe(run, *lists, event))

    def _send(self, job: Job, run: Run, notify: Notify) -> None:
        variables = {"RUNNER_EVENT": notify.event.value, "RUNNER_JOB": job.spec.name, "RUNNER_RUN": str(run.run_id)}
        try:
            result, error = run_hook(notify, self._text(run, notify.event), variables, lambda: self.stop() is not None)
            record_notification(self.database, run.run_id, result)
        except HistoryError as failure:
            _log.error("a notification for run %d could not be recorded: %s", run.run_id, failure)
            return
        # Without the hook's arguments and output, which may be confidential.
        event, program = notify.event.value, notify.command[0]
        if result.exit_code == 0:
            _log.info("%s notification sent to %s", event, program)
        else:
            reason = error or f"ended with {result.exit_code}"
            _log.warning("%s notification failed: %s %s; see `runner show %d`", event, program, reason, run.run_id)
