"""What the page of trends and the report show of the timings of a job."""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from runner.history import timings
from runner.history.database import View
from runner.output import trends as sentences
from runner.output.grid import Grid
from runner.output.trend_plots import is_uneven
from runner.trends.job_trends import Trends, compute_trends
from runner.trends.report import Event, Metric, Place
from runner.web import plots

AXES = ("time", "runs")
# A year of hourly runs takes a few megabytes.
_MOST_KEPT = 8
_kept: OrderedDict[Hashable, Trends] = OrderedDict()
_computing = threading.Lock()


class Finding(NamedTuple):
    """Something in the timings of a strategy: its kind, a sentence, and the run where it began."""

    kind: str
    strategy: str
    sentence: str
    run: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrendsShown:
    """The trends of a job as sentences, tables and plots.

    Attributes:
        trends: What they show.
        x: What the horizontal axis is, time or runs.
        verdict: The sentence about the pool and sequential, or else about others; None without a comparison.
        comparisons: A sentence for each comparison.
        table: The comparisons as a table.
        findings: Rises, steps, drifts and acknowledged baselines.
        charts: The plots.
    """

    trends: Trends
    x: str
    verdict: str | None
    comparisons: list[str]
    table: Grid
    findings: list[Finding]
    charts: list[plots.Chart]


def show_trends(
    view: View,
    job_id: int,
    metric: Metric = Metric.WALL,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    x: str | None = None,
) -> TrendsShown:
    """Return the trends of a job.

    Args:
        view: The history.
        job_id: The job.
        metric: What is followed.
        since: Only runs from this instant on.
        until: Only runs before this instant.
        x: The horizontal axis; None for time, unless that would hide most runs.
    """
    trends = _find_trends(view, job_id, metric, since, until)
    times = [at.timestamp() for _, at in plots.list_moments(trends)]
    chosen = x or AXES[bool(times) and is_uneven(times)]
    accepted: Mapping[str, int] = {}
    if trends.timings:
        accepted = timings.list_acknowledged(view, job_id, trends.timings[-1].environment, metric.value)
    return TrendsShown(
        trends=trends,
        x=chosen,
        verdict=_find_verdict(trends),
        comparisons=[sentences.comparison_sentence(one) for one in trends.comparisons],
        table=sentences.comparison_table(trends.comparisons),
        findings=_list_findings(trends, accepted),
        charts=plots.draw_charts(trends, accepted, by_runs=chosen == "runs"),
    )


def _find_trends(view: View, job_id: int, metric: Metric, since: datetime | None, until: datetime | None) -> Trends:
    """Return the trends of a metric, computed once for the same runs."""
    extent = timings.find_extent(view, job_id, since=since, until=until)
    key = (str(view.location), view.location.signature(), job_id, metric, extent)
    # Readers that need the same answer wait for it, and others would not be faster by sharing the interpreter.
    with _computing:
        trends = _kept.pop(key, None)
        if trends is None:
            found = timings.list_timings(view, job_id, since=since, until=until)
            counts = timings.list_counts(view, job_id, since=since, until=until)
            trends = compute_trends(found, counts, metric)
        _kept[key] = trends
        if len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    return trends


def _find_verdict(trends: Trends) -> str | None:
    """Return the sentence about the pool and sequential, or else about others: the decided one, cache as found."""
    order = sorted(
        trends.comparisons,
        key=lambda one: (
            (one.baseline, one.other) != ("sequential", "pool"),
            one.verdict is None,
            one.place is not Place.AS_FOUND,
        ),
    )
    return sentences.comparison_sentence(order[0]) if order else None


def _list_findings(trends: Trends, accepted: Mapping[str, int]) -> list[Finding]:
    """List the rises and the newest steps of a metric first."""
    rises = [Finding("rise", one.strategy, sentences.rise_sentence(one), one.since_run) for one in trends.rises]
    steps = [Finding(_direction(one), one.strategy, sentences.event_sentence(one), one.run) for one in trends.events]
    drifts = [Finding("drift", one.strategy, sentences.drift_sentence(one)) for one in trends.drifts]
    baselines = [Finding("baseline", name, plots.describe_baseline(name, run), run) for name, run in accepted.items()]
    return [*rises, *sorted(steps, key=lambda one: one.run or 0, reverse=True), *drifts, *baselines]


def _direction(event: Event) -> str:
    return "step up" if event.step.ratio.estimate > 1 else "step down"
