"""The daemon's metrics, collected from the history: manual runs count as well.

Each update reads only the rows that are new or were not finished at the last one.
"""

import platform
from bisect import bisect_left
from collections import Counter, defaultdict
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from typing import Protocol

from runner.history.database import View
from runner.history.jobs import jobs_revision, list_jobs
from runner.history.runs import (
    list_last_saved,
    list_last_succeeded,
    list_owners,
    list_runs_after,
    list_runs_numbered,
    newest_run_id,
)
from runner.model.errors import UsageError
from runner.model.jobs import Job
from runner.model.runs import Run, Status
from runner.operations.metrics_text import Sample, histogram
from runner.schedules.fire_times import next_fire_time

# Rows read at a time.
_CHUNK = 1_000
# A second may pass on a busy machine; above that, runs wait for each other, or the machine slept.
_LATENESS_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
# The statuses of finished runs; each has a sample from the start, so that its first run is a rise.
_FINISHED = [status for status in Status if status not in {Status.RUNNING, Status.MISSED, Status.SKIPPED}]


@dataclass(slots=True)
class _JobMetrics:
    """The counts of one job since the start, and its last runs that were saved and that succeeded."""

    ended: Counter[Status] = field(default_factory=Counter)
    missed: int = 0
    skipped: int = 0
    saved: Run | None = None
    succeeded: Run | None = None


class Source(Protocol):
    """A database, or what opens one."""

    def view(self) -> AbstractContextManager[View]:
        """Yield one state of the database."""


class MetricsCollector:
    """The metrics of one daemon; counters start with this object.

    Raises:
        HistoryError: If the history can't be read.
    """

    def __init__(self, database: Source, now: datetime) -> None:
        self._database = database
        self._build = {"python": platform.python_version(), "version": version("runner")}
        self._started_at = self._collected_at = now
        with database.view() as view:
            self._seen = newest_run_id(view)
            self._unfinished = set(list_owners(view))
        self._revision: int | None = None
        self._jobs: list[Job] = []
        self._next: dict[int, datetime | None] = {}
        self._metrics: defaultdict[int, _JobMetrics] = defaultdict(_JobMetrics)
        self._lateness = [0] * (len(_LATENESS_BOUNDS_S) + 1)
        self._lateness_s = 0.0

    def update(self) -> None:
        """Read what is new in the history.

        Raises:
            HistoryError: If it can't be read; :meth:`samples` then returns what was known before.
        """
        with self._database.view() as view:
            if self._revision is None:
                for run in list_last_saved(view).values():
                    self._metrics[run.job_id].saved = run
                for run in list_last_succeeded(view).values():
                    self._metrics[run.job_id].succeeded = run
            revision = jobs_revision(view)
            if revision != self._revision:
                self._jobs = list_jobs(view)
                self._revision = revision
                self._next.clear()
                for removed in self._metrics.keys() - {job.job_id for job in self._jobs}:
                    del self._metrics[removed]
            unfinished = list_runs_numbered(view, self._unfinished)
            self._unfinished &= {run.run_id for run in unfinished}  # the others were deleted
            for run in unfinished:
                self._add(run)
            while new := list_runs_after(view, self._seen, _CHUNK):
                for run in new:
                    self._add(run)
                    self._seen = run.run_id

    def _add(self, run: Run) -> None:
        if run.status is Status.RUNNING:
            self._unfinished.add(run.run_id)
            return
        if run.run_id <= self._seen and run.run_id not in self._unfinished:
            return  # counted already
        self._unfinished.discard(run.run_id)
        metrics = self._metrics[run.job_id]
        if run.status is Status.MISSED:
            metrics.missed += run.missed
        elif run.status is Status.SKIPPED:
            metrics.skipped += 1
        else:
            metrics.ended[run.status] += 1
        if run.lateness_s is not None:
            self._lateness[bisect_left(_LATENESS_BOUNDS_S, run.lateness_s)] += 1
            self._lateness_s += run.lateness_s
        if run.files is not None and (metrics.saved is None or run.run_id >= metrics.saved.run_id):
            metrics.saved = run
        if run.status is Status.SUCCEEDED and (metrics.succeeded is None or run.run_id >= metrics.succeeded.run_id):
            metrics.succeeded = run

    def samples(
        self, now: datetime, *, up: bool, alive_at: datetime | None, started_at: datetime | None = None
    ) -> dict[str, list[Sample]]:
        """Return the samples by metric.

        Args:
            now: The current instant.
            up: Whether the daemon runs.
            alive_at: Its scheduler's last heartbeat; None if no daemon has run.
            started_at: When it started; None if this object was made then.
        """
        if now < self._collected_at:  # the clock was set back: jobs may fire again
            self._next.clear()
        self._collected_at = now
        values = {
            "up": int(up),
            "heartbeat_timestamp_seconds": _seconds(alive_at),
            "start_timestamp_seconds": _seconds(started_at or self._started_at),
            "jobs": len(self._jobs),
            "runs_running": len(self._unfinished),
        }
        samples = defaultdict[str, list[Sample]](list, {name: [("", {}, value)] for name, value in values.items()})
        samples["build_info"] = [("", self._build, 1)]
        samples["lateness_seconds"] = histogram(_LATENESS_BOUNDS_S, self._lateness, round(self._lateness_s, 6))
        for job in self._jobs:
            self._add_samples(samples, job, now)
        return samples

    def _add_samples(self, samples: dict[str, list[Sample]], job: Job, now: datetime) -> None:
        metrics = self._metrics[job.job_id]
        saved, succeeded = metrics.saved, metrics.succeeded
        values = {
            "missed_fire_times_total": metrics.missed,
            "skipped_fire_times_total": metrics.skipped,
            "next_fire_timestamp_seconds": _seconds(self._next_at(job, now)),
            "last_success_timestamp_seconds": _seconds(succeeded.finished_at if succeeded else None),
            "run_duration_seconds": saved.wall_s if saved else None,
            "files": saved.files if saved else None,
            "directories": saved.directories if saved else None,
        }
        labels = {"job": job.spec.name}
        for name, value in values.items():
            samples[name].append(("", labels, value))
        samples["runs_total"] += [("", {**labels, "status": status}, metrics.ended[status]) for status in _FINISHED]
        samples["last_run_duration_seconds"] += [
            ("", {**labels, "strategy": one.strategy}, one.wall_s) for one in (saved.executions if saved else ())
        ]

    def _next_at(self, job: Job, now: datetime) -> datetime | None:
        """Return when a job fires next, computed again only when that time has passed."""
        if job.spec.schedule is None or job.spec.paused:
            return None
        known = self._next.get(job.job_id, now)
        if known is not None and known <= now:
            try:
                known = next_fire_time(job.spec.schedule, job.job_id, max(now, job.schedule_start))
            except UsageError:  # its zone is not known on this machine, which the daemon logs
                known = None
            self._next[job.job_id] = known
        return known


def _seconds(instant: datetime | None) -> float | None:
    return instant.timestamp() if instant is not None else None
