"""What a job's timings say: sentences, tables, plots, and the same as one record."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model.timings import Counts, Timing
from runner.model.units import format_bytes, format_count, format_instant, format_seconds
from runner.output.grid import Cell, Column, Grid
from runner.output.records import Record
from runner.output.tables import MINUS, NOTHING, clock
from runner.trends.compare import Interval, Verdict
from runner.trends.course import Rising
from runner.trends.report import VALUES, Cause, Comparison, Creep, Event, Metric, Place, Regression, by_strategy

REGRESSION_KEYS = ("job", "strategy", "metric", "since_run", "best", "latest", "rise", "interval", "shape")

_VERDICTS = {
    Verdict.FASTER: "faster",
    Verdict.SLOWER: "slower",
    Verdict.SAME: "the same, give or take 5 %",
    Verdict.UNDECIDED: "undecided",
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
# A plot shows at most so many points of a strategy, each the median of some runs.
_POINTS = 120
_HEIGHT = 14


def trends_record(
    timings: Sequence[Timing],
    counts: Sequence[Counts],
    comparisons: Sequence[Comparison],
    events: Sequence[Event],
    rises: Sequence[Regression],
    creeps: Sequence[Creep],
    metric: Metric,
) -> Record:
    """Give all that trends say as one document; an interval is a list of its two bounds, 95 %."""
    return {
        "metric": metric.value,
        "environment": timings[-1].environment if timings else None,
        "runs": len({timing.run for timing in timings}),
        "since": format_instant(timings[0].started_at) if timings else None,
        "until": format_instant(timings[-1].started_at) if timings else None,
        "comparisons": [
            {
                "baseline": one.baseline,
                "strategy": one.other,
                "place": one.place.value,
                "runs": one.runs,
                "ratio": one.ratio and one.ratio.estimate,
                "interval": _bounds(one.ratio),
                "verdict": one.verdict and one.verdict.value,
                "further_runs": one.further_runs,
                "speed_up": one.speed_up,
                "efficiency": one.efficiency,
                "cpu_inflation": one.cpu_inflation,
                "message": one.message,
            }
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
            {
                "strategy": creep.strategy,
                "per_day": creep.per_day and creep.per_day.estimate,
                "interval": _bounds(creep.per_day),
                "message": creep.message,
            }
            for creep in creeps
        ],
        "series": [
            {
                "run": timing.run,
                "started_at": format_instant(timing.started_at),
                "strategy": timing.strategy,
                "position": timing.position,
                "value": VALUES[metric](timing),
            }
            for timing in timings
        ],
        "files": [
            {
                "run": one.run,
                "started_at": format_instant(one.started_at),
                "files": one.files,
                "added": one.added,
                "removed": one.removed,
                "modified": one.modified,
            }
            for one in counts
        ],
    }


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
    """Lay out what trends say, one plain sentence above each part; fits the width."""
    if not timings:
        return Text("no timings yet; let the job run", style="dim")
    parts: list[RenderableType] = []
    if comparisons:
        parts += [Text(_comparison_sentence(one)) for one in comparisons]
        parts += [Text(""), _comparison_table(comparisons), Text("")]
    parts += [Text(sentence) for sentence in _event_sentences(events, metric)]
    parts += [Text(_rise_sentence(one)) for one in rises]
    parts.append(_time_plot(timings, events, metric, width))
    if ratio := _ratio_plot(timings, comparisons, width):
        parts += [Text(""), Text("pool by sequential, run by run; below the line the pool was faster"), ratio]
    parts += [Text(""), *(Text(_creep_sentence(creep)) for creep in creeps)]
    if len(counts) > 1:
        parts += [Text(""), Text(_count_sentence(counts)), _count_plot(counts, width)]
    return Group(*parts)


def _comparison_sentence(one: Comparison) -> str:
    where = "as it comes" if one.place is Place.AS_IT_COMES else "with a warm cache"
    if one.ratio is None or one.verdict is None:
        return f"{one.other} against {one.baseline} {where}: {one.message}."
    interval = f"{one.ratio.estimate:.2f} times as long, 95 % interval {one.ratio.low:.2f} to {one.ratio.high:.2f}"
    more = ""
    if one.verdict is Verdict.UNDECIDED:
        more = (
            f"; about {format_count(one.further_runs, 'more run')} will tell"
            if one.further_runs
            else "; it lies on the very edge"
        )
    return f"{one.other} against {one.baseline} {where}: {_VERDICTS[one.verdict]} ({interval}){more}."


def _comparison_table(comparisons: Sequence[Comparison]) -> Grid:
    columns = {
        "pair": Column(header="strategy", cells=[Cell(f"{one.other} / {one.baseline}") for one in comparisons]),
        "place": Column(header="cache", cells=[Cell(one.place.value) for one in comparisons]),
        "runs": Column(header="runs", cells=[Cell(f"{one.runs:,}") for one in comparisons], right=True),
        "speed-up": Column(header="speed-up", cells=[_number(one.speed_up, ".2f") for one in comparisons], right=True),
        "efficiency": Column(
            header="efficiency", cells=[_number(one.efficiency, ".0%") for one in comparisons], right=True
        ),
        "cpu": Column(
            header="CPU inflation", cells=[_number(one.cpu_inflation, ".2f") for one in comparisons], right=True
        ),
    }
    return Grid(columns=columns, layouts=[[*columns], ["pair", "place", "runs", "speed-up"]], split=True)


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
    creeps = "creeping up" if low > 0 else "creeping down" if high < 0 else "not creeping"
    return (
        f"{creep.strategy}: {creeps}, {creep.per_day.estimate:+.2%} a day "
        f"(95 % interval {low:+.2%} to {high:+.2%}, Theil and Sen's slope of daily medians)"
    )


def _count_sentence(counts: Sequence[Counts]) -> str:
    added, removed = (sum(getattr(one, key) or 0 for one in counts[1:]) for key in ("added", "removed"))
    return (
        f"{format_count(counts[-1].files, 'file')} now, {counts[0].files:,} in run {counts[0].run}; "
        f"+{added:,} {MINUS}{removed:,} in between"
    )


def _time_plot(timings: Sequence[Timing], events: Sequence[Event], metric: Metric, width: int) -> Text:
    """Plot a metric by strategy over time, on a log axis, steps marked."""
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(width, _HEIGHT)
    grouped = by_strategy(timings)
    lines = {
        strategy: _thin([(timing.started_at.timestamp(), VALUES[metric](timing)) for timing in own])
        for strategy, own in grouped.items()
    }
    low, high = _span([value for line in lines.values() for _, value in line])
    for marker, (strategy, line) in zip("•+×o", lines.items(), strict=False):
        plotext.scatter([at for at, _ in line], [math.log10(value) for _, value in line], marker=marker, label=strategy)
    at_run = {timing.run: timing.started_at.timestamp() for timing in timings}
    for event in events:
        plotext.vertical_line(at_run[event.run])
    _axes(
        timings,
        [math.log10(value) for value in _ticks(low, high)],
        [_shown(value, metric) for value in _ticks(low, high)],
    )
    return Text(_built())


def _ratio_plot(timings: Sequence[Timing], comparisons: Sequence[Comparison], width: int) -> Text | None:
    """Plot the wall time of the pool by that of sequential, run by run, with a line at 1 and the interval as a band."""
    import plotext

    by_run: dict[int, dict[str, Timing]] = {}
    for timing in timings:
        by_run.setdefault(timing.run, {})[timing.strategy] = timing
    pairs = [
        (both["pool"].started_at.timestamp(), both["pool"].wall_s / both["sequential"].wall_s)
        for both in by_run.values()
        if {"pool", "sequential"} <= both.keys()
    ]
    if len(pairs) < 2:
        return None
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(width, _HEIGHT)
    line = _thin(pairs)
    plotext.scatter([at for at, _ in line], [math.log10(ratio) for _, ratio in line], marker="•")
    plotext.horizontal_line(0.0)
    bands = [one.ratio for one in comparisons if one.other == "pool" and one.ratio is not None]
    for bound in (bands[-1].low, bands[-1].high) if bands else ():
        plotext.horizontal_line(math.log10(bound))
    low, high = _span([ratio for _, ratio in line] + [1.0])
    ticks = sorted({low, 1.0, high})
    _axes(timings, [math.log10(tick) for tick in ticks], [f"{tick:.2f}" for tick in ticks])
    return Text(_built())


def _count_plot(counts: Sequence[Counts], width: int) -> Text:
    """Plot the number of files over time, and mark where some came or went."""
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(width, _HEIGHT)
    line = _thin([(one.started_at.timestamp(), float(one.files)) for one in counts])
    plotext.scatter([at for at, _ in line], [files for _, files in line], marker="•", label="files")
    for marker, key in (("+", "added"), ("-", "removed")):
        moved = [(one.started_at.timestamp(), one.files) for one in counts[1:] if getattr(one, key)]
        if moved:
            plotext.scatter([at for at, _ in moved], [files for _, files in moved], marker=marker, label=key)
    low, high = (fold(files for _, files in line) for fold in (min, max))
    ticks = sorted({low, high})
    _axes(counts, ticks, [f"{tick:,.0f}" for tick in ticks])
    return Text(_built())


def _axes(runs: Sequence[Timing] | Sequence[Counts], places: Sequence[float], labels: Sequence[str]) -> None:
    import plotext

    plotext.yticks(list(places), list(labels))
    ends = sorted({runs[0].started_at, runs[-1].started_at})
    plotext.xticks([end.timestamp() for end in ends], [clock(end, None, "%Y-%m-%d %H:%M") for end in ends])


def _built() -> str:
    import plotext

    built: str = plotext.build()
    return "\n".join(line.rstrip() for line in plotext.uncolorize(built).splitlines())


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Take groups of points together, each by its medians, until there are few enough to tell apart."""
    group = math.ceil(len(points) / _POINTS)
    return [
        (median(x for x, _ in points[start : start + group]), median(y for _, y in points[start : start + group]))
        for start in range(0, len(points), group)
    ]


def _span(values: Sequence[float]) -> tuple[float, float]:
    return max(min(values), 1e-12), max(*values, 1e-12)


def _ticks(low: float, high: float) -> list[float]:
    """Choose up to five places on a log axis."""
    if high <= low * 1.01:
        return [low]
    return [low * (high / low) ** (step / 4) for step in range(5)]


def _shown(value: float, metric: Metric) -> str:
    return format_bytes(round(value)) if metric is Metric.MEMORY else format_seconds(value)


def rise_record(rise: Regression) -> Record:
    """Give how far the latest level lies above the lowest; levels are in the metric's unit, 0.2 is 20 % more."""
    return {
        "strategy": rise.strategy,
        "metric": rise.metric.value,
        "since_run": rise.since_run,
        "best": rise.best,
        "latest": rise.latest,
        "rise": rise.rise,
        "interval": [rise.ratio.low - 1, rise.ratio.high - 1],
        "shape": rise.shape.value,
    }


def regressions_table(found: Mapping[str, Sequence[Regression]]) -> RenderableType:
    """Lay out regressions by job."""
    rows = [(job, each) for job, regressions in found.items() for each in regressions]
    if not rows:
        return Text("no regressions", style="dim")
    columns = {
        "job": Column(header="job", cells=[Cell(job) for job, _ in rows], least=10, fold=True),
        "strategy": Column(header="strategy", cells=[Cell(each.strategy) for _, each in rows]),
        "rise": Column(header="rise", cells=[Cell(f"{each.rise:+.0%}", "red") for _, each in rows], right=True),
        "best": Column(header="best", cells=[Cell(_shown(each.best, each.metric)) for _, each in rows], right=True),
        "latest": Column(
            header="latest", cells=[Cell(_shown(each.latest, each.metric)) for _, each in rows], right=True
        ),
        "shape": Column(header="shape", cells=[Cell(each.shape.value) for _, each in rows]),
        "since": Column(header="since run", cells=[Cell(str(each.since_run)) for _, each in rows], right=True),
    }
    return Grid(columns=columns, layouts=[[*columns], ["job", "strategy", "rise", "since"]])
