"""The daemon's metrics, collected from the history: manual runs count as well.

Each update reads only the rows that are new or were not finished at the last one.
"""

import platform
from bisect import bisect_left
from collections import Counter
from datetime import datetime
from importlib.metadata import version

from runner.history.database import Database, Reader
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
from runner.model.metrics import Histogram, JobMetrics, Metrics
from runner.model.runs import Run, Status
from runner.schedules.fire_times import next_fire_time

# Rows read at a time.
_CHUNK = 1_000
# A second may pass on a busy machine; above that, runs wait for each other, or the machine slept.
_LATENESS_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)


class _JobCounts:
    """The counts and the last runs of one job."""

    __slots__ = ("ended", "missed", "saved", "skipped", "succeeded")

    def __init__(self) -> None:
        self.ended: Counter[Status] = Counter()
        self.missed = 0
        self.skipped = 0
        self.saved: Run | None = None
        self.succeeded: Run | None = None


class MetricsCollector:
    """The metrics of one daemon; counters start with this object.

    Raises:
        HistoryError: If the history can't be read.
    """

    def __init__(self, database: Database, now: datetime) -> None:
        self._database = database
        self._version = version("runner")
        self._started_at = self._collected_at = now
        with database.view() as view:
            self._seen = newest_run_id(view)
            self._unfinished = set(list_owners(view))
        self._filled = False
        self._revision = -1
        self._jobs: list[Job] = []
        self._next: dict[int, datetime | None] = {}
        self._counts: dict[int, _JobCounts] = {}
        self._lateness = [0] * (len(_LATENESS_BOUNDS_S) + 1)
        self._lateness_s = 0.0

    def update(self) -> None:
        """Read what is new in the history.

        Raises:
            HistoryError: If it can't be read; :meth:`metrics` then returns what was known before.
        """
        with self._database.view() as view:
            self._read(view)

    def _read(self, view: Reader) -> None:
        revision = jobs_revision(view)
        if revision != self._revision:
            self._jobs = list_jobs(view)
            self._revision = revision
            self._next.clear()
            present = {job.job_id for job in self._jobs}
            self._counts = {job_id: counts for job_id, counts in self._counts.items() if job_id in present}
        if not self._filled:
            for run in list_last_saved(view).values():
                self._counts_of(run).saved = run
            for run in list_last_succeeded(view).values():
                self._counts_of(run).succeeded = run
            self._filled = True
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
        counts = self._counts_of(run)
        if run.status is Status.MISSED:
            counts.missed += run.missed
        elif run.status is Status.SKIPPED:
            counts.skipped += 1
        else:
            counts.ended[run.status] += 1
        if run.lateness_s is not None:
            self._lateness[bisect_left(_LATENESS_BOUNDS_S, run.lateness_s)] += 1
            self._lateness_s += run.lateness_s
        if run.files is not None and (counts.saved is None or run.run_id >= counts.saved.run_id):
            counts.saved = run
        if run.status is Status.SUCCEEDED and (counts.succeeded is None or run.run_id >= counts.succeeded.run_id):
            counts.succeeded = run

    def _counts_of(self, run: Run) -> _JobCounts:
        return self._counts.setdefault(run.job_id, _JobCounts())

    def metrics(self, now: datetime, *, up: bool, alive_at: datetime) -> Metrics:
        """Return the metrics; *up* is whether the daemon runs, *alive_at* its scheduler's last heartbeat."""
        if now < self._collected_at:  # the clock was set back: jobs may fire again
            self._next.clear()
        self._collected_at = now
        return Metrics(
            up=up,
            started_at=self._started_at,
            alive_at=alive_at,
            version=self._version,
            python=platform.python_version(),
            running=len(self._unfinished),
            lateness_s=Histogram(
                bounds=_LATENESS_BOUNDS_S, counts=tuple(self._lateness), total=round(self._lateness_s, 6)
            ),
            jobs=[self._job_metrics(job, now) for job in self._jobs],
        )

    def _job_metrics(self, job: Job, now: datetime) -> JobMetrics:
        counts = self._counts.get(job.job_id) or _JobCounts()
        saved = counts.saved
        return JobMetrics(
            job=job.spec.name,
            ended=counts.ended,
            missed=counts.missed,
            skipped=counts.skipped,
            next_at=self._next_at(job, now),
            succeeded_at=counts.succeeded.finished_at if counts.succeeded is not None else None,
            wall_s=saved.wall_s if saved is not None else None,
            strategy_wall_s={
                one.strategy: one.wall_s for one in (saved.executions if saved else ()) if one.wall_s is not None
            },
            files=saved.files if saved is not None else None,
            directories=saved.directories if saved is not None else None,
        )

    def _next_at(self, job: Job, now: datetime) -> datetime | None:
        """Return when a job fires next, computed again only when that time has passed."""
        if job.spec.schedule is None or job.spec.paused:
            return None
        known = self._next.get(job.job_id, now)
        if known is not None and known <= now:
            try:
                known = next_fire_time(job.spec.schedule, job.job_id, max(now, job.armed_at))
            except UsageError:  # its zone is not known on this machine, which the daemon logs
                known = None
            self._next[job.job_id] = known
        return known
