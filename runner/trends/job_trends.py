"""Everything that is known of the timings of a job in one environment, for the command line and the web pages."""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from runner.model.timings import Counts, Timing
from runner.trends import report
from runner.trends.compare import Interval
from runner.trends.report import VALUES, Comparison, Creep, Event, Metric, Regression


class Trends(NamedTuple):
    """What is known of the timings of a job, in one environment.

    Attributes:
        timings: Those of the environment of the last run.
        counts: The file counts of all runs.
        comparisons: Of the wall times of the strategies since the last step.
        events: The steps of the metric.
        rises: How far the latest levels of the metric lie above the lowest ones.
        creeps: The drift of the metric.
        metric: What is followed.
        lasting: The steps of the wall time.
        elsewhere: The number of runs in other environments.
    """

    timings: Sequence[Timing]
    counts: Sequence[Counts]
    comparisons: Sequence[Comparison]
    events: Sequence[Event]
    rises: Sequence[Regression]
    creeps: Sequence[Creep]
    metric: Metric
    lasting: Sequence[Event] = ()
    elsewhere: int = 0


class Level(NamedTuple):
    """The median of a metric between two steps of a strategy, in the metric's unit.

    Attributes:
        strategy: Whose.
        first: The first timing at this level.
        last: The last one.
        value: The median.
        interval: The level before times the interval of the step; None for the first level.
    """

    strategy: str
    first: Timing
    last: Timing
    value: float
    interval: Interval | None = None


def compute_trends(found: Sequence[Timing], counts: Sequence[Counts], metric: Metric) -> Trends:
    """Compute the trends of a metric from the timings of a job in any environment, by run."""
    series = report.newest_series(found)
    events = report.find_events(series, metric)
    lasting = events if metric is Metric.WALL else report.find_events(series)
    return Trends(
        timings=series,
        counts=counts,
        comparisons=report.compare(report.since_last_step(series, lasting)),
        events=events,
        rises=report.find_regressions(series, over=0.0, metric=metric),
        creeps=report.find_creeps(series, events, metric),
        metric=metric,
        lasting=lasting,
        elsewhere=len({timing.run for timing in found} - {timing.run for timing in series}),
    )


def find_levels(trends: Trends) -> list[Level]:
    """Find the levels of each strategy, oldest first."""
    levels = []
    for strategy, own in report.by_strategy(trends.timings).items():
        steps = [event.step for event in trends.events if event.strategy == strategy]
        values = [steps[0].before, *(step.after for step in steps)] if steps else [_middle(own, trends.metric)]
        bounds = [None, *(_scaled(step.ratio, math.exp(step.before)) for step in steps)]
        ends = pairwise([0, *(step.index for step in steps), len(own)])
        levels += [
            Level(strategy, own[start], own[end - 1], math.exp(value), interval)
            for value, interval, (start, end) in zip(values, bounds, ends, strict=True)
        ]
    return levels


def _middle(own: Sequence[Timing], metric: Metric) -> float:
    return median(report.logs(own, metric))


def _scaled(ratio: Interval, by: float) -> Interval:
    return Interval(estimate=ratio.estimate * by, low=ratio.low * by, high=ratio.high * by)


def pool_ratios(timings: Sequence[Timing]) -> list[tuple[Timing, float]]:
    """Return the wall time of the pool by that of sequential for each run with both, with the timing of the pool."""
    walls = {timing.run: timing.wall_s for timing in timings if timing.strategy == "sequential"}
    pools = (timing for timing in timings if timing.strategy == "pool" and timing.run in walls)
    return [(timing, timing.wall_s / walls[timing.run]) for timing in pools]


def values_by_strategy(trends: Trends) -> dict[str, list[tuple[Timing, float]]]:
    """Return the timings of each strategy with their values of the metric."""
    value = VALUES[trends.metric]
    return {name: [(one, value(one)) for one in own] for name, own in report.by_strategy(trends.timings).items()}
