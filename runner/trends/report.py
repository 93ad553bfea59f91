"""Comparisons, steps, regressions and drift of a job's timings."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, pairwise
from statistics import median

from runner.model.timings import Timing
from runner.trends.compare import Interval, NotEnoughRuns, Verdict, further_runs, judge, ratio_interval
from runner.trends.drift import daily_slope
from runner.trends.piecewise import Movement, Rising, Step, find_movement
from runner.trends.steps import FEWEST

_DAY_S = 86_400.0
# Steps of two metrics that lie so many runs from each other at most are one event.
_TOGETHER = 3


class Metric(StrEnum):
    """What is followed over time."""

    WALL = "wall_s"
    PER_ENTRY = "wall_per_entry_s"
    CPU = "cpu_s"
    STARTUP = "startup_s"
    MEMORY = "max_rss_bytes"


VALUES: Mapping[Metric, Callable[[Timing], float]] = {
    Metric.WALL: lambda timing: timing.wall_s,
    # An empty tree still has a root to read.
    Metric.PER_ENTRY: lambda timing: timing.wall_s / max(1, timing.entries),
    Metric.CPU: lambda timing: timing.cpu_s,
    Metric.STARTUP: lambda timing: timing.startup_s,
    Metric.MEMORY: lambda timing: timing.max_rss_bytes,
}


class Place(StrEnum):
    """What an execution finds: whatever cache there is, or the one that an earlier execution of its run has warmed."""

    AS_FOUND = "as found"
    WARM = "warm"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One strategy against another, at one place.

    Attributes:
        baseline: The strategy it is measured against.
        other: The strategy.
        place: Whether they went first or later.
        runs: How many timings there are of each, of the fewer.
        ratio: Wall time of the other by that of the baseline, with its interval; None if there are too few.
        verdict: faster, slower, same or undecided; None likewise.
        further_runs: How many more runs are likely to decide it; None where no number would, or there is no verdict.
        message: Why there is no verdict.
        speed_up: Times as fast, dimensionless; None without a ratio.
        efficiency: That by workers; None where the other uses none.
        cpu_inflation: CPU time of the other by that of the baseline, medians; None without a ratio.
    """

    baseline: str
    other: str
    place: Place
    runs: int
    ratio: Interval | None = None
    verdict: Verdict | None = None
    further_runs: int | None = None
    message: str | None = None
    speed_up: float | None = None
    efficiency: float | None = None
    cpu_inflation: float | None = None


class Cause(StrEnum):
    """What a step of the wall time comes from, judged by the wall time per entry."""

    TREE = "the tree changed in size"
    SPEED = "each entry takes longer or less long"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A step in the timings of one strategy.

    Attributes:
        strategy: Whose.
        metric: Of what.
        run: Number of the first run at the new level.
        step: The step itself.
        cause: Where it comes from; only told of the wall time.
    """

    strategy: str
    metric: Metric
    run: int
    step: Step
    cause: Cause | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """How the timings of one strategy drift from day to day.

    Attributes:
        strategy: Whose.
        metric: Of what.
        per_day: Relative change per day with its interval; None if there are too few days.
        message: Why there is none.
    """

    strategy: str
    metric: Metric
    per_day: Interval | None = None
    message: str | None = None


def newest_series(timings: Sequence[Timing]) -> list[Timing]:
    """Return the timings from the environment of the last one."""
    return [timing for timing in timings if timing.environment == timings[-1].environment] if timings else []


def missing_runs(series: Sequence[Timing]) -> int:
    """Return how many more runs a series needs before its level can be judged."""
    return max(0, FEWEST - max(map(len, by_strategy(series).values()), default=0))


def by_strategy(timings: Sequence[Timing]) -> dict[str, list[Timing]]:
    """Group timings by strategy, those of the most runs first, in the order of runs."""
    counts = Counter(timing.strategy for timing in timings)
    grouped: dict[str, list[Timing]] = {strategy: [] for strategy, _ in counts.most_common()}
    for timing in timings:
        grouped[timing.strategy].append(timing)
    return grouped


def compare(timings: Sequence[Timing], band: float = 0.05) -> list[Comparison]:
    """Compare each pair of strategies within one series, at each place.

    Args:
        timings: Of one environment, without a step among them.
        band: How much longer or shorter still counts as the same, dimensionless.
    """
    grouped = by_strategy(timings)
    # Sequential is the baseline of all, and each of those after it.
    order = sorted(grouped, key=lambda name: (name != "sequential", name != "pool", name))
    comparisons = []
    for baseline, other in combinations(order, 2):
        for place in Place:
            first, second = (_at(grouped[name], place) for name in (baseline, other))
            if first or second:
                comparisons.append(_compare(baseline, first, other, second, place, band))
    return comparisons


def _at(timings: Sequence[Timing], place: Place) -> list[Timing]:
    return [timing for timing in timings if (timing.position == 1) is (place is Place.AS_FOUND)]


def _compare(
    baseline: str, first: Sequence[Timing], other: str, second: Sequence[Timing], place: Place, band: float
) -> Comparison:
    runs = min(len(first), len(second))
    try:
        ratio = ratio_interval([timing.wall_s for timing in first], [timing.wall_s for timing in second])
    except NotEnoughRuns as error:
        return Comparison(baseline=baseline, other=other, place=place, runs=runs, message=str(error))
    cpu = [median(timing.cpu_s for timing in each) for each in (first, second)]
    workers = second[-1].workers
    return Comparison(
        baseline=baseline,
        other=other,
        place=place,
        runs=runs,
        ratio=ratio,
        verdict=judge(ratio, band),
        further_runs=further_runs(ratio, runs, band),
        speed_up=1 / ratio.estimate,
        efficiency=1 / ratio.estimate / workers if workers > 1 else None,
        cpu_inflation=cpu[1] / cpu[0] if cpu[0] else None,
    )


def logs(timings: Sequence[Timing], metric: Metric) -> list[float]:
    """Return the natural logarithms of a metric, without the effect of the position in a run.

    The second execution finds a warm cache; without this, a series with alternating positions would jump to and fro.
    """
    values = [math.log(max(VALUES[metric](timing), 1e-12)) for timing in timings]
    positions = {timing.position for timing in timings}
    middle = median(values) if values else 0.0
    typical = {
        position: median(value for value, timing in zip(values, timings, strict=True) if timing.position == position)
        for position in positions
    }
    return [value - typical[timing.position] + middle for value, timing in zip(values, timings, strict=True)]


def find_events(timings: Sequence[Timing], metric: Metric = Metric.WALL) -> list[Event]:
    """Find the steps in each strategy's timings, within one series.

    A step of the wall time that the wall time per entry shows too comes from the speed, else from the tree.
    """
    events = []
    for strategy, own in by_strategy(timings).items():
        course = _find_movement(own, metric)
        steps = course.steps
        per_entry = _find_movement(own, Metric.PER_ENTRY).steps if steps and metric is Metric.WALL else []
        for step in steps:
            cause = None
            if metric is Metric.WALL:
                shared = any(
                    abs(step.index - each.index) <= max(_TOGETHER, course.resolution + 1)
                    and (step.ratio.estimate > 1) is (each.ratio.estimate > 1)
                    for each in per_entry
                )
                cause = Cause.SPEED if shared else Cause.TREE
            run = own[step.index].run
            events.append(Event(strategy=strategy, metric=metric, run=run, step=step, cause=cause))
    return events


def _find_movement(own: Sequence[Timing], metric: Metric, since: int = 0) -> Movement:
    return find_movement(tuple(logs(own, metric)), since)


def since_last_step(timings: Sequence[Timing], events: Sequence[Event]) -> list[Timing]:
    """Return the timings since the last step of any strategy: earlier ones belong to another tree or machine."""
    last = max((event.run for event in events), default=0)
    return [timing for timing in timings if timing.run >= last]


@dataclass(frozen=True, kw_only=True, slots=True)
class Regression:
    """A strategy whose latest level is above its best earlier one.

    Attributes:
        strategy: Whose.
        metric: Of what.
        since_run: The first run at the latest level, or the one with which it began to drift there.
        best: The lowest earlier level, in the metric's unit.
        latest: The latest level, at its end, likewise.
        ratio: The latest by the lowest level with its bounds, dimensionless.
        shape: How it came about: one step, several, or a drift.
    """

    strategy: str
    metric: Metric
    since_run: int
    best: float
    latest: float
    ratio: Interval
    shape: Rising

    @property
    def rise(self) -> float:
        """The latest level by the best one, less one; dimensionless."""
        return self.latest / self.best - 1


def find_regressions(
    timings: Sequence[Timing], *, over: float, metric: Metric = Metric.WALL, accepted: Mapping[str, int] | None = None
) -> list[Regression]:
    """Find the strategies of one series that got slower and have not recovered.

    Args:
        timings: Of one environment.
        over: How much the latest level may lie above the best earlier one, dimensionless, >= 0.
        metric: What is followed.
        accepted: For strategies whose level was accepted as it was, the last run at that time: no level that had
            ended before that counts as an earlier one.
    """
    regressions = []
    for strategy, own in by_strategy(timings).items():
        after = (accepted or {}).get(strategy, 0)
        since = next((place for place, timing in enumerate(own) if timing.run >= after), len(own) - 1)
        rise = _find_movement(own, metric, since).rise
        if rise is not None and rise.ratio.estimate - 1 > over:
            regressions.append(
                Regression(
                    strategy=strategy,
                    metric=metric,
                    since_run=own[rise.index].run,
                    best=math.exp(rise.lowest),
                    latest=math.exp(rise.latest),
                    ratio=rise.ratio,
                    shape=rise.shape,
                )
            )
    return regressions


def find_levels(
    own: Sequence[Timing], steps: Sequence[Step], per_day: Interval | None, metric: Metric
) -> list[list[tuple[int, float]]]:
    """Find the level of one strategy's timings between its steps, and its drift after the last one.

    Args:
        own: The timings, in the order of runs; fewer than 12 have no level.
        steps: Their steps.
        per_day: Their drift; it counts if its interval does not contain zero.
        metric: What is followed.

    Returns:
        For each level its first and last run, with the value there; natural-log units.
    """
    if len(own) < FEWEST:
        return []
    values = logs(own, metric)
    indices = [0, *(step.index for step in steps), len(own)]
    levels = [median(values[start:end]) for start, end in pairwise(indices)]
    lines = [
        [(own[start].run, level), (own[end - 1].run, level)]
        for (start, end), level in zip(pairwise(indices), levels, strict=True)
    ]
    if per_day is not None and per_day.low * per_day.high > 0:
        last = own[indices[-2] :]
        days = [timing.started_at.timestamp() / _DAY_S for timing in last]
        slope = math.log1p(per_day.estimate)
        lines[-1] = [
            (timing.run, levels[-1] + slope * (day - median(days))) for timing, day in zip(last, days, strict=True)
        ]
    return lines


def find_drifts(timings: Sequence[Timing], events: Sequence[Event], metric: Metric = Metric.WALL) -> list[Drift]:
    """Estimate for each strategy of one series how fast its timings drift since its last step."""
    drifts = []
    last_step = {event.strategy: event.run for event in events}
    for strategy, series in by_strategy(timings).items():
        own = [timing for timing in series if timing.run >= last_step.get(strategy, 0)]
        days = [timing.started_at.timestamp() / _DAY_S for timing in own]
        try:
            per_day = daily_slope(days, logs(own, metric))
        except NotEnoughRuns as error:
            drifts.append(Drift(strategy=strategy, metric=metric, message=str(error)))
        else:
            drifts.append(Drift(strategy=strategy, metric=metric, per_day=per_day))
    return drifts
