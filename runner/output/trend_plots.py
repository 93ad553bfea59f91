"""Plots of the trends of a job, as text."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from rich.text import Text

from runner.model.timings import Counts, Timing
from runner.model.units import format_bytes, format_seconds
from runner.output import cells
from runner.trends.report import VALUES, Comparison, Event, Metric, by_strategy
from runner.trends.summary import pool_ratios

# The maximum number of points of a strategy in a plot, each the median of some runs.
_POINTS = 120
_HEIGHT = 14
_LEAST = 1e-12  # instead of zero, which a log axis does not have

_Points = Sequence[tuple[float, float]]


def time_plot(timings: Sequence[Timing], events: Sequence[Event], metric: Metric, width: int) -> Text:
    """Plot a metric by strategy over time, on a log axis, steps marked."""
    lines = {
        strategy: _thin([(timing.started_at.timestamp(), max(VALUES[metric](timing), _LEAST)) for timing in own])
        for strategy, own in by_strategy(timings).items()
    }
    values = [value for line in lines.values() for _, value in line]
    low, high = min(values), max(values)
    levels = [low] if high <= low * 1.01 else [low * (high / low) ** (step / 4) for step in range(5)]
    at_run = {timing.run: timing.started_at.timestamp() for timing in timings}
    return _plot(
        width,
        timings,
        [
            (_logarithmic(line), marker, strategy)
            for marker, (strategy, line) in zip("•+×o", lines.items(), strict=False)
        ],
        {math.log10(level): format_value(level, metric) for level in levels},
        down=[at_run[event.run] for event in events],
    )


def ratio_plot(timings: Sequence[Timing], comparisons: Sequence[Comparison], width: int) -> Text | None:
    """Plot the wall time of the pool by that of sequential, run by run, with a line at 1 and the interval as a band."""
    pairs = [(timing.started_at.timestamp(), ratio) for timing, ratio in pool_ratios(timings)]
    if len(pairs) < 2:
        return None
    line = _thin(pairs)
    ratios = [ratio for _, ratio in line]
    bands = [one.ratio for one in comparisons if one.other == "pool" and one.ratio is not None]
    return _plot(
        width,
        timings,
        [(_logarithmic(line), "•", None)],
        {math.log10(tick): f"{tick:.2f}" for tick in (min(*ratios, 1.0), 1.0, max(*ratios, 1.0))},
        across=[0.0, *(math.log10(bound) for band in bands[-1:] for bound in (band.low, band.high))],
    )


def count_plot(counts: Sequence[Counts], width: int) -> Text:
    """Plot the number of files over time, and mark where some came or went."""
    line = _thin([(one.started_at.timestamp(), float(one.files)) for one in counts])
    lines: list[tuple[_Points, str, str | None]] = [(line, "•", "files")]
    for marker, key in (("+", "added"), ("-", "removed")):
        if moved := [(one.started_at.timestamp(), one.files) for one in counts[1:] if getattr(one, key)]:
            lines.append((moved, marker, key))
    files = [files for _, files in line]
    return _plot(width, counts, lines, {tick: f"{tick:,.0f}" for tick in (min(files), max(files))})


def _plot(
    width: int,
    runs: Sequence[Timing] | Sequence[Counts],
    lines: Iterable[tuple[_Points, str, str | None]],
    ticks: Mapping[float, str],
    *,
    down: Iterable[float] = (),
    across: Iterable[float] = (),
) -> Text:
    """Draw lines, each with its marker and label, over the time of the runs."""
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(width, _HEIGHT)
    for line, marker, label in lines:
        plotext.scatter([at for at, _ in line], [value for _, value in line], marker=marker, label=label)
    for at in down:
        plotext.vertical_line(at)
    for level in across:
        plotext.horizontal_line(level)
    plotext.yticks(list(ticks), list(ticks.values()))
    ends = sorted({runs[0].started_at, runs[-1].started_at})
    plotext.xticks([end.timestamp() for end in ends], [cells.clock(end, "%Y-%m-%d %H:%M") for end in ends])
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
