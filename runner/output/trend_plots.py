"""Plots of the trends of a job, as text."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from rich.text import Text

from runner.model.timings import Counts, Timing
from runner.model.units import format_bytes, format_seconds
from runner.output import cells
from runner.trends.job_trends import pool_ratios
from runner.trends.report import VALUES, Comparison, Drift, Event, Metric, Regression, by_strategy, find_levels

# The maximum number of points of a strategy in a plot, each the median of some runs.
_POINTS = 120
_HEIGHT = 14
_LEAST = 1e-12  # instead of zero, which a log axis does not have
_LN_10 = math.log(10)
_FLAT = math.log10(1.01)  # values this close to each other have one tick

# With fewer columns in use than this share of the possible ones, runs are too unevenly spread to be plotted over time.
_LEAST_SPREAD = 0.5
# Ticks closer to each other than this share of the axis would overlap.
_TICK_GAP = 0.12

_Points = Sequence[tuple[float, float]]
_Line = tuple[_Points, str, str | None]  # with its marker and label


def is_uneven(times: Sequence[float]) -> bool:
    """Return whether runs at these instants, in seconds, are too unevenly spread to be plotted over time."""
    low, span = min(times), max(times) - min(times) or 1.0
    columns = {int((at - low) / span * _POINTS) for at in times}
    return len(columns) < _LEAST_SPREAD * min(len(times), _POINTS)


class _Axis:
    """The horizontal axis: time, or the order of runs where they are unevenly spread over time.

    Args:
        runs: In their order.
        marked: The runs that get a tick if there is room.
    """

    def __init__(self, runs: Sequence[Timing] | Sequence[Counts], marked: Iterable[int] = ()) -> None:
        started = {one.run: one.started_at for one in runs}
        times = [at.timestamp() for at in started.values()]
        span = max(times) - min(times)
        self.ordered = is_uneven(times)
        self.at = dict(zip(started, range(len(times)) if self.ordered else times, strict=True))
        # Seconds only where the minutes would be the same.
        pattern = "%Y-%m-%d %H:%M" if span >= 60 else "%Y-%m-%d %H:%M:%S"
        self.ticks = {self.at[run]: cells.clock(started[run], pattern) for run in (runs[0].run, runs[-1].run)}
        gap = _TICK_GAP * (max(self.ticks) - min(self.ticks))
        for run in marked:
            if all(abs(self.at[run] - other) > gap for other in self.ticks):
                self.ticks[self.at[run]] = f"run {run}"


def time_plot(
    timings: Sequence[Timing],
    events: Sequence[Event],
    metric: Metric,
    width: int,
    rises: Sequence[Regression] = (),
    drifts: Sequence[Drift] = (),
) -> Text:
    """Plot a metric by strategy, on a log axis, with its steps, levels, drifts and lowest levels."""
    axis = _Axis(timings, [event.run for event in events])
    grouped = by_strategy(timings)
    slopes = {drift.strategy: drift.per_day for drift in drifts if drift.per_day is not None}
    levels: list[_Points] = []
    for strategy, own in grouped.items():
        steps = [event.step for event in events if event.strategy == strategy]
        found = find_levels(own, steps, slopes.get(strategy), metric)
        levels += ([(axis.at[run], value / _LN_10) for run, value in level] for level in found)
    ends = min(axis.at.values()), max(axis.at.values())
    lowest = [[(end, math.log10(rise.best)) for end in ends] for rise in rises]
    lines = [
        (_logarithmic(_thin([(axis.at[one.run], max(VALUES[metric](one), _LEAST)) for one in own])), marker, strategy)
        for marker, (strategy, own) in zip("•+×o", grouped.items(), strict=False)
    ]
    values = [value for line, *_ in lines for _, value in line]
    low, high = min(values), max(values)
    ticks = [low] if high - low < _FLAT else [low + (high - low) * step / 4 for step in range(5)]
    return _plot(
        width,
        axis,
        lines,
        {tick: format_value(10**tick, metric) for tick in ticks},
        down=[axis.at[event.run] for event in events],
        levels=[*_labelled(levels, "─", "level"), *_labelled(lowest, "·", "lowest level")],
    )


def _labelled(lines: Sequence[_Points], marker: str, label: str) -> list[_Line]:
    """Return lines of which the first alone is in the legend."""
    return [(line, marker, None if number else label) for number, line in enumerate(lines)]


def ratio_plot(timings: Sequence[Timing], comparisons: Sequence[Comparison], width: int) -> Text | None:
    """Plot the wall time of the pool by that of sequential, run by run, with a line at 1 and the interval as a band."""
    axis = _Axis(timings)
    pairs = [(axis.at[timing.run], ratio) for timing, ratio in pool_ratios(timings)]
    if len(pairs) < 2:
        return None
    line = _thin(pairs)
    ratios = [ratio for _, ratio in line]
    bands = [one.ratio for one in comparisons if one.other == "pool" and one.ratio is not None]
    return _plot(
        width,
        axis,
        [(_logarithmic(line), "•", None)],
        {math.log10(tick): f"{tick:.2f}" for tick in (min(*ratios, 1.0), 1.0, max(*ratios, 1.0))},
        across=[0.0, *(math.log10(bound) for band in bands[-1:] for bound in (band.low, band.high))],
    )


def count_plot(counts: Sequence[Counts], width: int) -> Text:
    """Plot the number of files, and mark where some came or went."""
    axis = _Axis(counts)
    line = _thin([(axis.at[one.run], float(one.files)) for one in counts])
    lines: list[_Line] = [(line, "•", "files")]
    for marker, key in (("+", "added"), ("-", "removed")):
        if moved := [(axis.at[one.run], one.files) for one in counts[1:] if getattr(one, key)]:
            lines.append((moved, marker, key))
    files = [files for _, files in line]
    return _plot(width, axis, lines, {tick: f"{tick:,.0f}" for tick in (min(files), max(files))})


def _plot(
    width: int,
    axis: _Axis,
    lines: Iterable[_Line],
    ticks: Mapping[float, str],
    *,
    down: Iterable[float] = (),
    across: Iterable[float] = (),
    levels: Iterable[_Line] = (),
) -> Text:
    """Draw points above levels, each with its marker and label."""
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(width, _HEIGHT)
    for draw, parts in ((plotext.plot, levels), (plotext.scatter, lines)):
        for line, marker, label in parts:
            draw([at for at, _ in line], [value for _, value in line], marker=marker, label=label)
    for at in down:
        plotext.vertical_line(at)
    for level in across:
        plotext.horizontal_line(level)
    plotext.yticks(list(ticks), list(ticks.values()))
    plotext.xticks(list(axis.ticks), list(axis.ticks.values()))
    if axis.ordered:
        plotext.xlabel("runs in their order, which are unevenly spread over time")
    return Text("\n".join(line.rstrip() for line in plotext.uncolorize(plotext.build()).splitlines()))


def _logarithmic(line: _Points) -> _Points:
    return [(at, math.log10(value)) for at, value in line]


def _thin(points: _Points) -> _Points:
    """Group points by their medians until they can be distinguished."""
    group = math.ceil(len(points) / _POINTS)
    return [
        (median(x for x, _ in points[start : start + group]), median(y for _, y in points[start : start + group]))
        for start in range(0, len(points), group)
    ]


def format_value(value: float, metric: Metric) -> str:
    """Format a value of a metric."""
    return format_bytes(round(value)) if metric is Metric.MEMORY else format_seconds(value)
