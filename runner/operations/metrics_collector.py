"""The daemon's figures: filled from the history once, then kept up by what is new in it.

All that happens to jobs is a row of the history, whoever wrote it, so that runs by hand count as well. Each look reads
the rows that are new or were not finished at the last one, and nothing else.
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
# A second is what a firing may take on a busy machine; beyond that runs wait for each other, or the machine slept.
_LATENESS_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)


class _Tally:
    """What has been noted of one job."""

    __slots__ = ("ended", "missed", "saved", "skipped", "succeeded")

    def __init__(self) -> None:
        self.ended: Counter[Status] = Counter()
        self.missed = 0
        self.skipped = 0
        self.saved: Run | None = None
        self.succeeded: Run | None = None


class Figures:
    """The figures of one daemon, which counts from where this is made.

    Args:
        database: Where the jobs and their history are.
        now: When the daemon started.

    Raises:
        HistoryError: If it can't be read; whatever is noted already stays, and can be asked for.
    """

    def __init__(self, database: Database, now: datetime) -> None:
        self._database = database
        self._version = version("runner")
        self._started_at = self._looked_at = now
        with database.view() as view:
            self._seen = newest_run_id(view)
            self._unfinished = set(list_owners(view))
        self._filled = False
        self._revision = -1
        self._jobs: list[Job] = []
        self._next: dict[int, datetime | None] = {}
        self._tallies: dict[int, _Tally] = {}
        self._lateness = [0] * (len(_LATENESS_BOUNDS_S) + 1)
        self._lateness_s = 0.0

    def follow(self) -> None:
        """Note what is new in the history.

        Raises:
            HistoryError: If it can't be read; whatever is noted already stays, and can be asked for.
        """
        with self._database.view() as view:
            self._follow(view)

    def _follow(self, view: Reader) -> None:
        revision = jobs_revision(view)
        if revision != self._revision:
            self._jobs = list_jobs(view)
            self._revision = revision
            self._next.clear()
            left = {job.job_id for job in self._jobs}
            self._tallies = {job_id: tally for job_id, tally in self._tallies.items() if job_id in left}
        if not self._filled:
            for run in list_last_saved(view).values():
                self._tally(run).saved = run
            for run in list_last_succeeded(view).values():
                self._tally(run).succeeded = run
            self._filled = True
        looked_at = list_runs_numbered(view, self._unfinished)
        self._unfinished &= {run.run_id for run in looked_at}  # the others are forgotten
        for run in looked_at:
            self._note(run)
        while new := list_runs_after(view, self._seen, _CHUNK):
            for run in new:
                self._note(run)
                self._seen = run.run_id

    def _note(self, run: Run) -> None:
        if run.status is Status.RUNNING:
            self._unfinished.add(run.run_id)
            return
        if run.run_id <= self._seen and run.run_id not in self._unfinished:
            return  # noted already
        self._unfinished.discard(run.run_id)
        tally = self._tally(run)
        if run.status is Status.MISSED:
            tally.missed += run.missed
        elif run.status is Status.SKIPPED:
            tally.skipped += 1
        else:
            tally.ended[run.status] += 1
        if run.lateness_s is not None:
            self._lateness[bisect_left(_LATENESS_BOUNDS_S, run.lateness_s)] += 1
            self._lateness_s += run.lateness_s
        if run.files is not None and (tally.saved is None or run.run_id >= tally.saved.run_id):
            tally.saved = run
        if run.status is Status.SUCCEEDED and (tally.succeeded is None or run.run_id >= tally.succeeded.run_id):
            tally.succeeded = run

    def _tally(self, run: Run) -> _Tally:
        return self._tallies.setdefault(run.job_id, _Tally())

    def metrics(self, now: datetime, *, up: bool, alive_at: datetime) -> Metrics:
        """Give the figures as they are.

        Args:
            now: The clock.
            up: Whether the daemon fires.
            alive_at: When its scheduler last gave a sign of life.
        """
        if now < self._looked_at:  # the clock was set back, and what has fired may fire again
            self._next.clear()
        self._looked_at = now
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
        tally = self._tallies.get(job.job_id) or _Tally()
        saved = tally.saved
        return JobMetrics(
            job=job.spec.name,
            ended=tally.ended,
            missed=tally.missed,
            skipped=tally.skipped,
            next_at=self._next_at(job, now),
            succeeded_at=tally.succeeded.finished_at if tally.succeeded is not None else None,
            wall_s=saved.wall_s if saved is not None else None,
            strategy_wall_s={
                one.strategy: one.wall_s for one in (saved.executions if saved else ()) if one.wall_s is not None
            },
            files=saved.files if saved is not None else None,
            directories=saved.directories if saved is not None else None,
        )

    def _next_at(self, job: Job, now: datetime) -> datetime | None:
        """Tell when a job fires next, computed anew only when that has come."""
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
