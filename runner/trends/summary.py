"""Summaries of the timings of jobs: their levels, verdicts and changes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from runner.model.timings import Timing
from runner.trends.compare import Verdict
from runner.trends.piecewise import PiecewiseTrend, Rising, Step
from runner.trends.report import Comparison, Metric, by_strategy, compare, logs


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """The present state of the timings of one strategy.

    Attributes:
        strategy: Whose.
        metric: Of what.
        runs: How many timings there are.
        level: The latest level, in the metric's unit.
        ratio: Its wall time by that of sequential since the last step; None for that one, and with too few runs.
        verdict: What follows from the ratio; None likewise.
        change: The latest level by the lowest one, or after a fall by the one before it, less one; None without any.
        shape: How that came about; None likewise.
        since_run: Since when; None likewise.
    """

    strategy: str
    metric: Metric
    runs: int
    level: float
    ratio: float | None = None
    verdict: Verdict | None = None
    change: float | None = None
    shape: Rising | None = None
    since_run: int | None = None


def summarise(series: Sequence[Timing], metric: Metric) -> list[Summary]:
    """Return a summary of each strategy of one series; wall times are compared since the last step of the metric."""
    grouped = by_strategy(series)
    courses = {name: PiecewiseTrend(logs(own, metric)) for name, own in grouped.items()}
    steps = {name: course.steps() for name, course in courses.items()}
    last = max((grouped[name][found[-1].index].run for name, found in steps.items() if found), default=0)
    comparisons = compare([timing for timing in series if timing.run >= last])
    # The one with the clearest verdict counts: with the cache as found, or warm.
    comparisons.sort(key=lambda one: (one.verdict is not None) + (one.verdict not in {None, Verdict.UNDECIDED}))
    compared = {one.other: one for one in comparisons if one.baseline == "sequential"}
    order = sorted(grouped, key=lambda name: (name != "sequential", name != "pool", name))
    return [_summarise(grouped[name], metric, courses[name], steps[name], compared.get(name)) for name in order]


def _summarise(
    own: Sequence[Timing], metric: Metric, course: PiecewiseTrend, steps: Sequence[Step], compared: Comparison | None
) -> Summary:
    rise = course.rise()
    first = steps[-1].index if steps else 0
    level = rise.latest if rise is not None else median(logs(own, metric)[first:])
    change, shape, since = None, None, None
    if rise is not None and rise.ratio.estimate > 1:
        change, shape, since = rise.ratio.estimate - 1, rise.shape, own[rise.index].run
    elif steps:
        change, shape, since = steps[-1].ratio.estimate - 1, Rising.STEP, own[first].run
    return Summary(
        strategy=own[-1].strategy,
        metric=metric,
        runs=len(own),
        level=math.exp(level),
        ratio=compared.ratio.estimate if compared and compared.ratio else None,
        verdict=compared.verdict if compared else None,
        change=change,
        shape=shape,
        since_run=since,
    )
