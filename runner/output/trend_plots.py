"""Plots of the trends of a job, as text."""

import math
from collections.abc import Sequence
from statistics import median

from rich.text import Text

from runner.model.timings import Counts, Timing
from runner.model.units import format_bytes, format_seconds
from runner.output.cells import clock
from runner.trends.report import VALUES, Comparison, Event, Metric, by_strategy

# The maximum number of points of a strategy in a plot, each the median of some runs.
_POINTS = 120
_HEIGHT = 14


def time_plot(timings: Sequence[Timing], events: Sequence[Event], metric: Metric, width: int) -> Text:
    """Plot a metric by strategy over time, on a log axis, steps marked."""
    import plotext

    _start(width)
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
        [format_value(value, metric) for value in _ticks(low, high)],
    )
    return Text(_built())


def ratio_plot(timings: Sequence[Timing], comparisons: Sequence[Comparison], width: int) -> Text | None:
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
    _start(width)
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


def count_plot(counts: Sequence[Counts], width: int) -> Text:
    """Plot the number of files over time, and mark where some came or went."""
    import plotext

    _start(width)
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


def _start(width: int) -> None:
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(width, _HEIGHT)


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
    """Group points by their medians until they can be distinguished."""
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


def format_value(value: float, metric: Metric) -> str:
    """Format a value of a metric."""
    return format_bytes(round(value)) if metric is Metric.MEMORY else format_seconds(value)
