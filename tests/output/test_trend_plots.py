from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

from runner.model.timings import Counts, Timing
from runner.output.trend_plots import count_plot, time_plot
from runner.trends.report import Metric, find_drifts, find_events, find_regressions

START = datetime(2026, 1, 1, tzinfo=UTC)
IN_ORDER = "runs in their order, which are unevenly spread over time"


def steady(_run: int) -> float:
    return 1.0


def series(wall_s: Callable[[int], float], every: timedelta, runs: int = 60) -> list[Timing]:
    """Return timings with a noise of 2 %, after a first one that is a month older."""
    random = Random(1)  # noqa: S311  chance, not secrets
    return [
        Timing(
            run=run, started_at=START + every * run - timedelta(days=30) * (run == 1), environment=1,
            strategy="sequential", position=1, workers=1, wall_s=wall_s(run) * random.lognormvariate(0, 0.02),
            startup_s=0.01, cpu_s=0.9, max_rss_bytes=1, entries=1_000, files=10,
        )
        for run in range(1, runs + 1)
    ]  # fmt: skip


def plotted(timings: list[Timing]) -> list[str]:
    events = find_events(timings)
    rises, drifts = find_regressions(timings, over=0.0), find_drifts(timings, events)
    return time_plot(timings, events, Metric.WALL, 80, rises, drifts).plain.splitlines()


def columns(lines: list[str], mark: str) -> set[int]:
    """Return the columns of the plot, without the legend, in which a character stands."""
    return {place for line in lines if line.count(mark) for place in range(20, len(line)) if line[place] == mark}


def test_uneven_runs_are_plotted_in_their_order() -> None:
    lines = plotted(series(steady, timedelta(seconds=1)))
    assert IN_ORDER in lines[-1]
    assert len(columns(lines, "•")) > 25
    even = plotted(series(steady, timedelta(days=1))[1:])
    assert IN_ORDER not in even[-1]
    assert len(columns(even, "•")) > 25


def test_runs_within_a_minute_have_ends_in_seconds() -> None:
    lines = plotted(series(steady, timedelta(seconds=1))[1:])
    assert IN_ORDER not in lines[-1]
    assert ":02" in lines[-1]


def test_a_step_has_levels_on_both_sides_and_a_lowest_level() -> None:
    lines = plotted(series(lambda run: 1.0 if run < 33 else 1.5, timedelta(seconds=1)))
    assert "run 33" in lines[-2]
    text = "\n".join(lines)
    for named in ("── level", "·· lowest level", "•• sequential"):
        assert named in text
    assert {"─", "·"} <= {mark for line in lines[1:-2] for mark in line[40:-1]}


def test_a_drift_is_a_sloping_level() -> None:
    lines = plotted(series(lambda run: 1.005**run, timedelta(hours=12), runs=100)[1:])
    rows = [number for number, line in enumerate(lines[1:-2]) if "─" in line[20:-1]]
    assert len(rows) > 3


def test_few_runs_have_no_level() -> None:
    assert "level" not in "\n".join(plotted(series(steady, timedelta(days=1), runs=11)))


def test_counts_of_uneven_runs_are_plotted_in_their_order() -> None:
    runs = series(steady, timedelta(seconds=1))
    counts = [Counts(one.run, one.started_at, 100 + one.run, 1, 0, 0) for one in runs]
    assert IN_ORDER in count_plot(counts, 80).plain
