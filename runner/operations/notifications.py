"""What of a run somebody wants to be told, and telling it."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runner.execution.retry import is_settled
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
from runner.history.runs import get_run, list_differences, list_runs_before
from runner.history.saved import shows_changes
from runner.history.timings import list_acknowledged, list_timings
from runner.model.errors import HistoryError
from runner.model.jobs import Event, Job, Notify
from runner.model.notifications import Notification
from runner.model.runs import Change, Difference, Problem, Run, Status
from runner.operations.hook_command import Told, tell_command
from runner.trends.report import Metric, find_regressions, newest_series

_log = logging.getLogger(__name__)

# As `runner regressions` has it by default.
_SLOWER_BY = 0.2
_METRIC = Metric.PER_ENTRY
# A year of hourly runs; `runner regressions` looks at all.
_LAST_RUNS = 10_000
# More attempts than a firing can have.
_MOST_ATTEMPTS = 200

Describe = Callable[[Run, Sequence[Change], Sequence[Problem], Sequence[Difference]], Mapping[str, Any]]


def find_due(database: Reader, job: Job, run: Run) -> list[Notify]:
    """Find out who is to be told of a run that has ended, in the order in which they were chosen.

    Each command is told of a failure once, until a run has succeeded again; of a slower level once, too, and
    later levels are measured against it. A retry that follows leaves open how its firing ends.

    Args:
        database: Where it is remembered.
        job: The job.
        run: Its newest run.
    """
    if run.status not in {*GOOD, *BAD}:
        return []
    happened: dict[Event, Callable[[Notify], bool]] = {
        Event.FAILURE: lambda notify: _begins_to_fail(database, job, run, notify),
        Event.RECOVERY: lambda _: run.status in GOOD and _had_failed(database, job, run),
        Event.CHANGE: lambda _: bool(run.added or run.removed or run.modified) and shows_changes(database, run),
        Event.SLOW: lambda notify: run.status in GOOD and _got_slower(database, run, notify),
    }
    return [notify for notify in job.spec.notify if happened[notify.event](notify)]


def _begins_to_fail(database: Reader, job: Job, run: Run, notify: Notify) -> bool:
    if run.status not in BAD or not is_settled(job, run):
        return False
    return last_notified_run(database, job.job_id, notify, find_last_good(database, run)) is None


def _had_failed(database: Reader, job: Job, run: Run) -> bool:
    """Whether the firing before that of a run failed for good."""
    for earlier in _runs_before(database, run):
        if earlier.status in GOOD:
            return False
        same_firing = run.scheduled_at is not None and run.scheduled_at == earlier.scheduled_at
        if not same_firing and is_settled(job, earlier):
            return True
    return False


def _runs_before(database: Reader, run: Run) -> Iterator[Run]:
    """Give the runs before one that say something about its job, newest first; seldom is a second one asked for."""
    yield from list_runs_before(database, run.job_id, run.run_id, statuses=(*GOOD, *BAD), limit=1)
    yield from list_runs_before(database, run.job_id, run.run_id, statuses=(*GOOD, *BAD), limit=_MOST_ATTEMPTS)[1:]


def _got_slower(database: Reader, run: Run, notify: Notify) -> bool:
    series = newest_series(list_timings(database, run.job_id, last=_LAST_RUNS))
    if not series or series[-1].run != run.run_id:
        return False
    accepted = list_acknowledged(database, run.job_id, series[-1].environment, _METRIC.value)
    told = last_notified_run(database, run.job_id, notify, series[0].run) or 0
    # What was told is known, as if it had been acknowledged.
    known = {timing.strategy: max(told, accepted.get(timing.strategy, 0)) for timing in series}
    return bool(find_regressions(series, over=_SLOWER_BY, metric=_METRIC, accepted=known))


@dataclass(frozen=True, slots=True)
class Notifier:
    """Tells a job's commands what happened.

    Attributes:
        database: Where jobs and runs are remembered, and who was told what.
        describe: Gives a run with its changes, problems and differences as scripts know it.
        stop: Asked many times a second; a status ends the command that is being told.
    """

    database: Database
    describe: Describe
    stop: Callable[[], Status | None] = lambda: None

    def tell(self, job: Job, run_id: int) -> bool:
        """Tell whoever wants to know what became of a run that was saved; returns whether they could be found."""
        if not job.spec.notify or self.stop() is not None:
            return True
        try:
            with self.database.view() as view:
                run = get_run(view, run_id)
                due = find_due(view, job, run)
        except HistoryError as error:
            _log.error("nobody could be told of run %d: %s", run_id, error)
            return False
        for notify in due:
            self._tell(job, run, notify)
        return True

    def notify_pending(self, job: Job) -> None:
        """Tell that the last run of a job failed, if the process that carried it out could not."""
        if not any(notify.event is Event.FAILURE for notify in job.spec.notify):
            return
        try:
            with self.database.view() as view:
                run = find_last_ended(view, job.job_id)
                due = find_due(view, job, run) if run is not None and run.status in BAD else []
        except HistoryError as error:
            _log.error("nobody could be told of the last run: %s", error)
            return
        for notify in due:
            if run is not None and notify.event is Event.FAILURE:
                self._tell(job, run, notify)

    def _tell(self, job: Job, run: Run, notify: Notify) -> None:
        if self.stop() is not None:
            return
        started_at = datetime.now(UTC)
        about = {"RUNNER_EVENT": notify.event.value, "RUNNER_JOB": job.spec.name, "RUNNER_RUN": str(run.run_id)}
        try:
            told = tell_command(
                notify.command, self._described(run, notify.event), about, lambda: self.stop() is not None
            )
            record_notification(
                self.database,
                run.run_id,
                Notification(
                    event=notify.event,
                    command=notify.command,
                    started_at=started_at,
                    wall_s=told.wall_s,
                    exit_code=told.exit_code,
                    message=told.message,
                ),
            )
        except HistoryError as error:
            _log.error("who was told of run %d could not be kept: %s", run.run_id, error)
        else:
            _report(run, notify, told)

    def _described(self, run: Run, event: Event) -> bytes:
        with self.database.view() as view:
            changes = list_changes(view, run.job_id, run.run_id - 1, run.run_id)
            record = self.describe(run, changes, list_problems(view, run), list_differences(view, run))
        return json.dumps({**record, "event": event.value}).encode() + b"\n"


def _report(run: Run, notify: Notify, told: Told) -> None:
    """Log how a command took it; its arguments and what it wrote may hold what is nobody else's business."""
    said = (notify.event.value, notify.command[0])
    if told.exit_code == 0:
        _log.info("%s told to %s", *said)
    else:
        how = told.why or f"ended with {told.exit_code}"
        _log.warning("%s not told: %s %s; see `runner show %d`", *said, how, run.run_id)
