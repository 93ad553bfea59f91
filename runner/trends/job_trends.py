"""Everything that is known of the timings of a job in one environment, for the command line and the web pages."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from runner.model.timings import Counts, Timing
from runner.trends import report
from runner.trends.report import VALUES, Comparison, Drift, Event, Metric, Regression


class Trends(NamedTuple):
    """What is known of the timings of a job, in one environment.

    Attributes:
        timings: Those of the environment of the last run.
        counts: The file counts of all runs.
        comparisons: Of the wall times of the strategies since the last step.
        events: The steps of the metric.
        rises: How far the latest levels of the metric lie above the lowest ones.
        drifts: The drift of the metric.
        metric: What is followed.
        lasting: The steps of the wall time.
        elsewhere: The number of runs in other environments.
    """

    timings: Sequence[Timing]
    counts: Sequence[Counts]
    comparisons: Sequence[Comparison]
    events: Sequence[Event]
    rises: Sequence[Regression]
    drifts: Sequence[Drift]
    metric: Metric
    lasting: Sequence[Event] = ()
    elsewhere: int = 0


class Level(NamedTuple):
    """The level of a strategy between two steps.

    Attributes:
        strategy: Whose.
        line: Its first and last run with the value there, in the metric's unit; all runs if the strategy drifts.
        low: The lower bound by the value, from the interval of the step to this level; 1 for the first level.
        high: The upper bound likewise.
    """

    strategy: str
    line: Sequence[tuple[int, float]]
    low: float = 1.0
    high: float = 1.0


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
        drifts=report.find_drifts(series, events, metric),
        metric=metric,
        lasting=lasting,
        elsewhere=len({timing.run for timing in found} - {timing.run for timing in series}),
    )


def find_levels(trends: Trends) -> list[Level]:
    """Find the levels of each strategy, oldest first."""
    slopes = {drift.strategy: drift.per_day for drift in trends.drifts}
    levels = []
    for strategy, own in report.by_strategy(trends.timings).items():
        steps = [event.step for event in trends.events if event.strategy == strategy]
        ratios = [None, *(step.ratio for step in steps)]
        for line, ratio in zip(
            report.find_levels(own, steps, slopes.get(strategy), trends.metric), ratios, strict=False
        ):
            bounds = (ratio.low / ratio.estimate, ratio.high / ratio.estimate) if ratio else ()
            levels.append(Level(strategy, [(run, math.exp(value)) for run, value in line], *bounds))
    return levels


def pool_ratios(timings: Sequence[Timing]) -> list[tuple[Timing, float]]:
    """Return the wall time of the pool by that of sequential for each run with both, with the timing of the pool."""
    walls = {timing.run: timing.wall_s for timing in timings if timing.strategy == "sequential"}
    pools = (timing for timing in timings if timing.strategy == "pool" and timing.run in walls)
    return [(timing, timing.wall_s / walls[timing.run]) for timing in pools]


def values_by_strategy(trends: Trends) -> dict[str, list[tuple[Timing, float]]]:
    """Return the timings of each strategy with their values of the metric, sequential first."""
    value = VALUES[trends.metric]
    grouped = report.by_strategy(trends.timings)
    return {name: [(one, value(one)) for one in grouped[name]] for name in sorted(grouped, reverse=True)}
