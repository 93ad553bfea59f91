"""The plots of a job: a metric by strategy, the pool by sequential, and the number of files."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from markupsafe import Markup

from runner.model.timings import Counts
from runner.output import trends as sentences
from runner.output.cells import TIMES
from runner.output.trend_plots import format_value
from runner.trends.job_trends import Level, Trends, find_levels, pool_ratios, values_by_strategy
from runner.trends.report import Metric
from runner.web import svg
from runner.web.svg import HEIGHT, WIDTH, Flag, Scale

_DAY_S = 86_400.0
_MIB = 2**20
# Between the labels of two strategies, in pixels.
_LINE = 15
# A drift is drawn through so many runs.
_SLOPED = 40
_UP, _DOWN, _DIAMOND = "M-5 9L0 0L5 9Z", "M-5 0L0 9L5 0Z", "M0 0L5 5L0 10L-5 5Z"
_KNOWN = frozenset({"sequential", "pool", "incremental"})

_Moment = tuple[int, datetime]
_Point = tuple[int, datetime, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """The horizontal axis that the plots of a page share: time, or the order of the runs."""

    ticks: Sequence[tuple[float, str]]
    places: Mapping[int, float]  # the pixels of runs


def list_moments(trends: Trends) -> set[_Moment]:
    """List the runs of trends, and when they started."""
    return {(one.run, one.started_at) for one in trends.timings} | {(one.run, one.started_at) for one in trends.counts}


def make_axis(moments: Iterable[_Moment], *, by_runs: bool) -> Axis:
    """Return the axis for runs; at least one."""
    runs = sorted(set(moments))
    if by_runs:
        scale = Scale(0, max(1, len(runs) - 1), 8, WIDTH - 8)
        steps = [int(tick) for tick in svg.nice_ticks(scale, 8) if tick == int(tick) < len(runs)]
        places = {run: scale(place) for place, (run, _) in enumerate(runs)}
        return Axis([(scale(place), f"run {runs[place][0]}") for place in steps], places)
    start, end = min(at for _, at in runs), max(at for _, at in runs)
    scale = Scale(start.timestamp(), end.timestamp(), 8, WIDTH - 8)
    ticks = svg.time_ticks(start, end) if start < end else [(start, f"{start.astimezone():%Y-%m-%d %H:%M}")]
    places = {run: scale(at.timestamp()) for run, at in runs}
    return Axis([(scale(at.timestamp()), label) for at, label in ticks], places)


@dataclass(frozen=True, slots=True)
class Chart:
    """A plot with its title, the data for its script, and classes of marks with their meanings."""

    title: str
    drawn: Markup
    data: Mapping[str, Any]
    legend: Sequence[tuple[str, str]] = ()


def _data(y: Scale, unit: str, lines: Mapping[str, Iterable[_Point]], axis: Axis) -> dict[str, Any]:
    """Return what the script reads: the points of each line, as differences to the point before, and the scale."""
    series = []
    for name, points in lines.items():
        kept = _extremes([(round(axis.places[run]), run, round(at.timestamp()), value) for run, at, value in points])
        x, runs, instants, values = zip(*kept, strict=True)
        steps = {"x": _differences(x), "run": _differences(runs), "at": _differences(instants)}
        shown = [float(f"{value:.4g}") for value in values]
        series.append({"name": name, "class": class_of(name), "value": shown, **steps})
    scale = {"low": y.low, "high": y.high, "start": y.start, "end": y.end, "log": y.logarithmic}
    return {"unit": unit, **scale, "series": series}


def _extremes(points: list[tuple[int, int, int, float]]) -> list[tuple[int, int, int, float]]:
    """Return the lowest and the highest point of each pixel column if there are many, in the order of runs."""
    if len(points) <= WIDTH:
        return points
    columns: dict[int, list[tuple[int, int, int, float]]] = {}
    for point in points:
        columns.setdefault(point[0], []).append(point)
    ends = (choose(column, key=lambda point: point[3]) for column in columns.values() for choose in (min, max))
    return sorted(set(ends), key=lambda point: point[1])


def _differences(numbers: Sequence[int]) -> list[int]:
    return [number - before for before, number in zip((0, *numbers), numbers, strict=False)]


def class_of(strategy: str) -> str:
    """Return the class that colours a strategy, the same in every plot."""
    return strategy if strategy in _KNOWN else "other"


def draw_charts(trends: Trends, accepted: Mapping[str, int], *, by_runs: bool) -> list[Chart]:
    """Draw the metric, the pool by sequential and the number of files, as far as there is something to draw.

    Args:
        trends: What is drawn.
        accepted: The run of the acknowledged baseline by strategy.
        by_runs: Whether the horizontal axis is the order of the runs.
    """
    if not (moments := list_moments(trends)):
        return []
    axis = make_axis(moments, by_runs=by_runs)
    charts = [trend_chart(trends, axis, accepted)] if trends.timings else []
    others = ratio_chart(trends, axis), files_chart(trends.counts, axis)
    return charts + [chart for chart in others if chart is not None]


def trend_chart(trends: Trends, axis: Axis, accepted: Mapping[str, int]) -> Chart:
    """Draw a metric of each strategy with its levels, steps, drift and acknowledged baselines.

    Args:
        trends: What is drawn; with at least one timing.
        axis: The horizontal axis.
        accepted: The run of the acknowledged baseline by strategy.
    """
    lines = values_by_strategy(trends)
    levels = find_levels(trends)
    top = 16 * len(lines) + 8 if trends.events or accepted else 8
    values = [value for line in lines.values() for _, value in line]
    y = svg.fit_scale(values, HEIGHT - 2, top, logarithmic=True)
    marks = [
        svg.dots(((axis.places[one.run], y(value)) for one, value in line), class_of(name))
        for name, line in lines.items()
    ]
    marks += [mark for level in levels for mark in _level_marks(level, axis, y)]
    marks += _elsewhere(trends, axis)
    flags = []
    for row, (name, line) in enumerate(lines.items()):
        at = {one.run: axis.places[one.run] for one, _ in line}
        own = _event_flags(trends, name, at, 3 + 16 * row)
        marks += [svg.segment(flag.x, flag.y + 10, flag.x, HEIGHT, f"step {class_of(name)}") for flag in own]
        own += [Flag(at[run], 3 + 16 * row, f"flag baseline {class_of(name)}", describe_baseline(name, run), _DIAMOND)
                for run in [accepted.get(name)] if run in at]  # fmt: skip
        flags += own
    ends = {name: y(line[-1][1]) for name, line in lines.items()}
    ends |= {level.strategy: y(level.line[-1][1]) for level in levels}
    title = sentences.METRIC_NAMES[trends.metric]
    drawn = svg.plot(
        f"{title} of each run by strategy", marks, axis.ticks, _value_ticks(y, trends.metric), flags=flags,
        names=_names(ends),
    )  # fmt: skip
    unit = "bytes" if trends.metric is Metric.MEMORY else "s"
    points = {name: [(one.run, one.started_at, value) for one, value in line] for name, line in lines.items()}
    legend = [(class_of(name), name) for name in lines]
    legend += [("level", "level")] if levels else []
    legend += [("interval", "95 % interval of a step"), ("flags", "steps")] if trends.events else []
    legend += [("baseline", "acknowledged")] if accepted else []
    legend += [("elsewhere", "other environments")] if trends.elsewhere else []
    return Chart(title.capitalize(), drawn, _data(y, unit, points, axis), legend)


def _elsewhere(trends: Trends, axis: Axis) -> list[Markup]:
    """Draw an area over the time before the first run in this environment, if there were runs."""
    start, end = min(axis.places.values()), axis.places[trends.timings[0].run]
    return [svg.band(start, end, (0, HEIGHT), (0, HEIGHT), "elsewhere")] if trends.elsewhere and start < end else []


def _level_marks(level: Level, axis: Axis, y: Scale) -> list[Markup]:
    """Draw a level, and above it the interval of the step that leads to it."""
    (run, value), (last_run, last) = level.line[0], level.line[-1]
    drifts = " drift" if len(level.line) > 2 else ""
    sampled = level.line[: -1 : len(level.line) // _SLOPED or 1]
    points = [(axis.places[run], y(value)) for run, value in (*sampled, level.line[-1])]
    middle = svg.line(points, f"level{drifts} {class_of(level.strategy)}")
    if level.low == level.high:
        return [middle]
    start, end = ((y(each * level.high), y(each * level.low)) for each in (value, last))
    class_ = f"interval {class_of(level.strategy)}"
    return [svg.band(axis.places[run], axis.places[last_run], start, end, class_), middle]


def _event_flags(trends: Trends, strategy: str, at: Mapping[int, float], y: float) -> list[Flag]:
    return [
        Flag(
            at[event.run],
            y,
            f"flag {class_of(strategy)}",
            sentences.event_sentence(event),
            _UP if event.step.ratio.estimate > 1 else _DOWN,
        )
        for event in trends.events
        if event.strategy == strategy
    ]


def describe_baseline(strategy: str, run: int) -> str:
    """Return the sentence about an acknowledged baseline."""
    return f"{strategy}: the level after run {run} was acknowledged as the new baseline"


def _names(ends: Mapping[str, float]) -> list[tuple[float, str, str]]:
    """Return the names of strategies above the ends of their last levels, apart from each other."""
    names: list[tuple[float, str, str]] = []
    below = HEIGHT + 0.0
    for name, y in sorted(ends.items(), key=lambda end: -end[1]):
        below = min(y - 8, below - _LINE)
        names.append((max(below, 10.0), name, class_of(name)))
    return names


def _value_ticks(y: Scale, metric: Metric) -> list[tuple[float, str]]:
    unit = _MIB if metric is Metric.MEMORY else 1
    ticks = svg.nice_ticks(Scale(y.low / unit, y.high / unit, 0, 1, y.logarithmic), 5)
    return [(y(tick * unit), format_value(tick * unit, metric) if tick else "0") for tick in ticks]


def ratio_chart(trends: Trends, axis: Axis) -> Chart | None:
    """Draw the wall time of the pool by that of sequential, run by run, and the interval of the last comparison."""
    pairs = pool_ratios(trends.timings)
    if len(pairs) < 2:
        return None
    ratio = next((one.ratio for one in trends.comparisons if one.other == "pool" and one.ratio is not None), None)
    bounds = [ratio.low, ratio.high] if ratio else []
    y = svg.fit_scale([1.0, *bounds, *(value for _, value in pairs)], HEIGHT - 2, 8, logarithmic=True)
    points = [(one.run, one.started_at, value) for one, value in pairs]
    places = [axis.places[run] for run, *_ in points]
    marks = [svg.dots(((x, y(value)) for x, (*_, value) in zip(places, points, strict=True)), "pool")]
    marks += [svg.segment(0, y(1.0), WIDTH, y(1.0), "one"), *_elsewhere(trends, axis)]
    if ratio:
        since = max((event.run for event in trends.lasting), default=0)
        start = next((x for x, (run, *_) in zip(places, points, strict=True) if run >= since), places[0])
        ends = (y(ratio.high), y(ratio.low))
        marks.append(svg.band(start, places[-1], ends, ends, "interval pool"))
        marks.append(svg.segment(start, y(ratio.estimate), places[-1], y(ratio.estimate), "level pool"))
    ticks = [(y(tick), f"{tick:.3g}{TIMES}") for tick in svg.nice_ticks(y, 5)]
    drawn = svg.plot("Wall time of the pool by that of sequential, run by run", marks, axis.ticks, ticks)
    legend = [("one", "as fast as sequential")]
    legend += [("interval", "95 % interval since the last step")] if ratio else []
    return Chart("Pool by sequential", drawn, _data(y, TIMES, {"pool / sequential": points}, axis), legend)


def files_chart(counts: Sequence[Counts], axis: Axis | None = None, height: int = 150) -> Chart | None:
    """Draw the number of files over time."""
    if len(counts) < 2:
        return None
    axis = axis or make_axis(((one.run, one.started_at) for one in counts), by_runs=False)
    y = svg.fit_scale([one.files for one in counts], height - 2, 8)
    points = [(one.run, one.started_at, float(one.files)) for one in counts]
    marks = [svg.line([(axis.places[run], y(files)) for run, _, files in points], "files")]
    ticks = [(y(tick), f"{tick:,.0f}") for tick in svg.nice_ticks(y, 4) if tick == int(tick)]
    drawn = svg.plot("Number of files found by each run", marks, axis.ticks, ticks, height=height)
    return Chart("Files", drawn, _data(y, "files", {"files": points}, axis))
