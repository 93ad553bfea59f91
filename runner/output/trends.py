"""The trends of a job: sentences, tables and plots, and the same as one record."""

import math
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model.timings import Counts, Timing
from runner.model.units import format_count
from runner.output.cells import MINUS, NOTHING, TIMES
from runner.output.grid import Cell, Column, Grid
from runner.output.records import Record, encode, plain
from runner.output.trend_plots import count_plot, format_value, ratio_plot, time_plot
from runner.trends.compare import Interval, Verdict
from runner.trends.course import Rising
from runner.trends.report import VALUES, Cause, Comparison, Creep, Event, Metric, Place, Regression

REGRESSION_KEYS = ("job", "strategy", "metric", "since_run", "best", "latest", "rise", "interval", "shape")

SERIES_KEYS = ("run", "started_at", "strategy", "position", "value")
_COUNT_KEYS = ("run", "started_at", "files", "added", "removed", "modified")
_DRIFT_KEYS = ("strategy", "per_day", "interval", "message")
_COMPARISON_KEYS = (
    *("baseline", "strategy", "place", "runs", "ratio", "interval", "verdict", "further_runs", "speed_up"),
    *("efficiency", "cpu_inflation", "message"),
)

_VERDICTS = {
    Verdict.FASTER: "is faster than {baseline}, {ratio} its wall time",
    Verdict.SLOWER: "is {ratio} slower than {baseline}",
    Verdict.SAME: "is as fast as {baseline} within 5 %, {ratio} its wall time",
    Verdict.UNDECIDED: "against {baseline} is undecided, {ratio} its wall time",
}
_NAMES = {
    Metric.WALL: "wall time",
    Metric.PER_ENTRY: "wall time per entry",
    Metric.CPU: "CPU time",
    Metric.STARTUP: "start-up",
    Metric.MEMORY: "peak memory",
}
# By whether the wall time rose.
_CAUSES = {
    (Cause.TREE, True): "the tree grew",
    (Cause.TREE, False): "the tree shrank",
    (Cause.SPEED, True): "each entry takes longer",
    (Cause.SPEED, False): "each entry takes less time",
}


def trends_record(
    timings: Sequence[Timing],
    counts: Sequence[Counts],
    comparisons: Sequence[Comparison],
    events: Sequence[Event],
    rises: Sequence[Regression],
    creeps: Sequence[Creep],
    metric: Metric,
) -> Record:
    """Return the trends as one document; an interval is a list of its two bounds, 95 %."""
    return {
        "metric": metric.value,
        "environment": timings[-1].environment if timings else None,
        "runs": len({timing.run for timing in timings}),
        "since": plain(timings[0].started_at) if timings else None,
        "until": plain(timings[-1].started_at) if timings else None,
        "comparisons": [
            encode(
                one,
                _COMPARISON_KEYS,
                strategy=one.other,
                ratio=one.ratio and one.ratio.estimate,
                interval=_bounds(one.ratio),
            )
            for one in comparisons
        ],
        "steps": [
            {
                "strategy": event.strategy,
                "run": event.run,
                "before": math.exp(event.step.before),
                "after": math.exp(event.step.after),
                "ratio": event.step.ratio.estimate,
                "interval": _bounds(event.step.ratio),
                "cause": event.cause and event.cause.value,
            }
            for event in events
        ],
        "rises": [rise_record(one) for one in rises],
        "drift": [
            encode(
                creep, _DRIFT_KEYS, per_day=creep.per_day and creep.per_day.estimate, interval=_bounds(creep.per_day)
            )
            for creep in creeps
        ],
        "series": series_records(timings, metric),
        "files": [encode(one, _COUNT_KEYS) for one in counts],
    }


def series_records(timings: Sequence[Timing], metric: Metric) -> list[Record]:
    """Return the values of a metric, in the order of the timings."""
    return [encode(timing, SERIES_KEYS, value=VALUES[metric](timing)) for timing in timings]


def _bounds(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def trends_view(
    timings: Sequence[Timing],
    counts: Sequence[Counts],
    comparisons: Sequence[Comparison],
    events: Sequence[Event],
    rises: Sequence[Regression],
    creeps: Sequence[Creep],
    metric: Metric,
    width: int,
) -> RenderableType:
    """Render the trends, a sentence above each part, within a width."""
    if not timings:
        return Text("no timings yet; run the job first", style="dim")
    parts: list[RenderableType] = []
    if comparisons:
        parts += [Text(_comparison_sentence(one)) for one in comparisons]
        parts += [Text(""), _comparison_table(comparisons), Text("")]
    parts += [Text(sentence) for sentence in _event_sentences(events, metric)]
    parts += [Text(_rise_sentence(one)) for one in rises]
    parts.append(time_plot(timings, events, metric, width))
    if ratio := ratio_plot(timings, comparisons, width):
        parts += [Text(""), Text("pool by sequential, run by run; below the line the pool was faster"), ratio]
    parts += [Text(""), *(Text(_creep_sentence(creep)) for creep in creeps)]
    if len(counts) > 1:
        parts += [Text(""), Text(_count_sentence(counts)), count_plot(counts, width)]
    return Group(*parts)


def _comparison_sentence(one: Comparison) -> str:
    cache = "cache as found" if one.place is Place.AS_IT_COMES else "warm cache"
    if one.ratio is None or one.verdict is None:
        return f"{one.other} against {one.baseline} ({cache}): {one.message}."
    interval = f"95 % interval {one.ratio.low:.2f}–{one.ratio.high:.2f}, {cache}"
    ratio = f"{one.ratio.estimate:.2f}{TIMES}"
    more = ""
    if one.verdict is Verdict.UNDECIDED:
        more = (
            f"; about {format_count(one.further_runs, 'more run')} will decide"
            if one.further_runs
            else "; it is at the limit"
        )
    return f"{one.other} {_VERDICTS[one.verdict].format(ratio=ratio, baseline=one.baseline)} ({interval}){more}."


def _comparison_table(comparisons: Sequence[Comparison]) -> Grid:
    columns = [
        Column("strategy", lambda one: Cell(f"{one.other} / {one.baseline}")),
        Column("cache", lambda one: Cell(one.place.value)),
        Column("runs", lambda one: Cell(f"{one.runs:,}"), right=True),
        Column("speed-up", lambda one: _number(one.speed_up, ".2f"), right=True),
        Column("efficiency", lambda one: _number(one.efficiency, ".0%"), right=True, priority=1),
        Column("CPU inflation", lambda one: _number(one.cpu_inflation, ".2f"), right=True, priority=1),
    ]
    return Grid(rows=comparisons, columns=columns, split=True)


def _number(value: float | None, spec: str) -> Cell:
    return NOTHING if value is None else Cell(format(value, spec))


def _event_sentences(events: Sequence[Event], metric: Metric) -> list[str]:
    if not events:
        return [f"{_NAMES[metric]}: no lasting step"]
    sentences = []
    for event in events:
        change = event.step.ratio.estimate - 1
        interval = " to ".join(f"{bound - 1:+.0%}" for bound in (event.step.ratio.low, event.step.ratio.high))
        why = f": {_CAUSES[event.cause, change > 0]}" if event.cause else ""
        sentences.append(
            f"{event.strategy}, {_NAMES[metric]}: {change:+.0%} since run {event.run} (95 % interval {interval}){why}"
        )
    return sentences


def _rise_sentence(rise: Regression) -> str:
    low, high = rise.ratio.low - 1, rise.ratio.high - 1
    since = (
        "since run"
        if rise.shape is Rising.STEP
        else "the drift began with run"
        if rise.shape is Rising.DRIFT
        else "the last with run"
    )
    return (
        f"{rise.strategy}, {_NAMES[rise.metric]}: {rise.rise:+.0%} above its lowest level "
        f"(95 % interval {low:+.0%} to {high:+.0%}), by {rise.shape.value}, {since} {rise.since_run}"
    )


def _creep_sentence(creep: Creep) -> str:
    if creep.per_day is None:
        return f"{creep.strategy}, drift: {creep.message}"
    low, high = creep.per_day.low, creep.per_day.high
    direction = "drifts up" if low > 0 else "drifts down" if high < 0 else "does not drift"
    return (
        f"{creep.strategy} {direction}, {creep.per_day.estimate:+.2%} a day "
        f"(95 % interval {low:+.2%} to {high:+.2%}, Theil and Sen's slope of daily medians)"
    )


def _count_sentence(counts: Sequence[Counts]) -> str:
    added, removed = (sum(getattr(one, key) or 0 for one in counts[1:]) for key in ("added", "removed"))
    return (
        f"{format_count(counts[-1].files, 'file')} now, {counts[0].files:,} in run {counts[0].run}; "
        f"+{added:,} {MINUS}{removed:,} in between"
    )


def rise_record(rise: Regression) -> Record:
    """Return how far the latest level lies above the lowest; levels are in the metric's unit, 0.2 is 20 % more."""
    return encode(rise, REGRESSION_KEYS[1:], interval=[rise.ratio.low - 1, rise.ratio.high - 1])


def regressions_table(found: Mapping[str, Sequence[Regression]]) -> RenderableType:
    """Render regressions by job."""
    rows = [(job, each) for job, regressions in found.items() for each in regressions]
    if not rows:
        return Text("no regressions", style="dim")
    columns = [
        Column("job", lambda row: Cell(row[0]), least=10, fold=True),
        Column("strategy", lambda row: Cell(row[1].strategy)),
        Column("rise", lambda row: Cell(f"{row[1].rise:+.0%}", "red"), right=True),
        Column("best", lambda row: Cell(format_value(row[1].best, row[1].metric)), right=True, priority=1),
        Column("latest", lambda row: Cell(format_value(row[1].latest, row[1].metric)), right=True, priority=1),
        Column("shape", lambda row: Cell(row[1].shape.value), priority=1),
        Column("since run", lambda row: Cell(str(row[1].since_run)), right=True),
    ]
    return Grid(rows=rows, columns=columns)
