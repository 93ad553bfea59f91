"""What the overview shows of each job's last runs, kept in memory until the job has a newer run."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from markupsafe import Markup

from runner.history import notifications, recent
from runner.history.database import View
from runner.history.recent import LastRun
from runner.model.jobs import Job
from runner.model.runs import Status
from runner.model.units import format_count
from runner.output.cells import TIMES
from runner.output.formats import STRATEGIES
from runner.output.text import printable
from runner.trends.compare import Interval, NotEnoughRuns, Verdict, judge, ratio_interval
from runner.web import strips

_RATED = timedelta(days=30)
# Rates change with time.
_KEPT_S = 600
_MOST_KEPT = 5_000

# By job: on what its summary depends, and the summary.
_kept: dict[tuple[str, int], tuple[Hashable, "Summary"]] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """The timings of one strategy.

    Attributes:
        strategy: Its name.
        typical_s: The median of its wall times.
        verdict: How it compares with sequential; None for sequential itself and without enough runs.
        ratio: Its wall times by those of sequential; None likewise.
    """

    strategy: str
    typical_s: float
    verdict: Verdict | None = None
    ratio: Interval | None = None

    @property
    def judgement(self) -> str:
        """The verdict in two words: ``1.6x faster``."""
        if self.ratio is None or self.verdict is None:
            return ""
        ratio = self.ratio.estimate
        if self.verdict in {Verdict.FASTER, Verdict.SLOWER}:
            return f"{max(ratio, 1 / ratio):.1f}{TIMES} {self.verdict}"
        return f"{self.verdict} ({ratio:.2f}{TIMES})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """The last runs of a job.

    Attributes:
        strip: Each as a bar.
        picture: The timings of each strategy as a line.
        lines: The strategies.
        typical_s: The median duration of the runs; None if none was measured.
        saved: The newest saved run; None if there is none.
        rate: The good ones of the ended runs in 30 days, 0 to 1; None if there are none.
        rated: What the rate counts.
    """

    strip: Markup
    picture: Markup | str
    lines: Sequence[Line]
    typical_s: float | None
    saved: LastRun | None
    rate: float | None
    rated: str


def summarize(
    view: View, shown: Sequence[Job], newest: Mapping[int, tuple[int, Status]], now: datetime
) -> dict[int, Summary]:
    """Return the summaries of jobs that have runs, by job, computing those of jobs whose runs changed only."""
    place, of_all = str(view.location), (view.location.signature(), int(now.timestamp()) // _KEPT_S)
    last = recent.count_last(view, [job.job_id for job in shown], strips.BARS)  # fewer after a prune
    keys = {
        job.job_id: (job.spec.name, newest[job.job_id], last.get(job.job_id), of_all)
        for job in shown
        if job.job_id in newest
    }
    found = {number: _kept.get((place, number)) for number in keys}
    summaries = {number: kept[1] for number, kept in found.items() if kept is not None and kept[0] == keys[number]}
    missing = [job for job in shown if job.job_id in keys and job.job_id not in summaries]
    if missing:
        if len(_kept) > _MOST_KEPT:
            _kept.clear()
        for number, summary in _compute(view, missing, now).items():
            _kept[place, number] = keys[number], summary
            summaries[number] = summary
    return summaries


def _compute(view: View, shown: Sequence[Job], now: datetime) -> dict[int, Summary]:
    job_ids = [job.job_id for job in shown]
    by_job: dict[int, list[LastRun]] = {}
    for run in recent.list_last_of_jobs(view, job_ids, strips.BARS):
        by_job.setdefault(run.job, []).append(run)
    walls: dict[int, dict[str, float]] = {}
    for number, strategy, wall_s in recent.list_last_walls(view, job_ids, strips.BARS):
        walls.setdefault(number, {})[strategy] = wall_s
    counts = recent.count_statuses(view, job_ids, now - _RATED)
    return {
        job.job_id: _summary(job, by_job[job.job_id], walls, counts.get(job.job_id, Counter()))
        for job in shown
        if job.job_id in by_job
    }


def _summary(
    job: Job, runs: Sequence[LastRun], walls: Mapping[int, Mapping[str, float]], counts: Counter[Status]
) -> Summary:
    by_strategy: dict[str, dict[int, float]] = {}
    # Timings of different environments are not compared.
    environment = next((run.environment for run in reversed(runs) if run.run in walls), None)
    for run in runs:
        for strategy, wall_s in walls.get(run.run, {}).items() if run.environment == environment else ():
            by_strategy.setdefault(strategy, {})[run.run] = wall_s
    known = {name: by_strategy[name] for name in STRATEGIES if name in by_strategy}
    ordered = known | by_strategy
    good, bad = (sum(counts[status] for status in kind) for kind in (notifications.GOOD, notifications.BAD))
    not_run = [f"{counts[one]:,} {one}" for one in (Status.MISSED, Status.SKIPPED, Status.CANCELLED) if one in counts]
    durations = [run.wall_s for run in runs if run.wall_s is not None]
    return Summary(
        strip=strips.strip(printable(job.spec.name), runs),
        picture=strips.lines(runs, ordered),
        lines=[_line(strategy, own, ordered.get("sequential", {})) for strategy, own in ordered.items()],
        typical_s=median(durations) if durations else None,
        saved=next((run for run in reversed(runs) if run.added is not None), None),
        rate=good / (good + bad) if good + bad else None,
        rated=", ".join([f"{good:,} of {format_count(good + bad, 'run')} in 30 days succeeded", *not_run]),
    )


def _line(strategy: str, own: Mapping[int, float], baseline: Mapping[int, float]) -> Line:
    typical_s = median(own.values())
    if strategy == "sequential":
        return Line(strategy=strategy, typical_s=typical_s)
    try:
        ratio = ratio_interval(list(baseline.values()), list(own.values()))
    except NotEnoughRuns:
        return Line(strategy=strategy, typical_s=typical_s)
    return Line(strategy=strategy, typical_s=typical_s, verdict=judge(ratio), ratio=ratio)
