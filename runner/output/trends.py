"""The trends of a job: sentences, tables and plots, and the same as one record."""

import math
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model.runs import Run
from runner.model.timings import Counts, Timing
from runner.model.units import format_count
from runner.output import cells
from runner.output.cells import Cell, Column
from runner.output.grid import Grid
from runner.output.records import Record, bounds, encode, plain
from runner.output.text import printable
from runner.output.trend_plots import count_plot, format_value, ratio_plot, time_plot
from runner.trends.compare import Interval, NotEnoughRuns, Verdict, judge, ratio_interval
from runner.trends.job_trends import Trends
from runner.trends.piecewise import Rising
from runner.trends.report import VALUES, Cause, Comparison, Drift, Event, Metric, Regression
from runner.trends.summary import Summary

REGRESSION_KEYS = ("job", "strategy", "metric", "since_run", "best", "latest", "rise", "interval", "shape")
SUMMARY_KEYS = ("job", "metric", "strategy", "runs", "level", "ratio", "verdict", "change", "shape", "since_run")
SERIES_KEYS = ("run", "started_at", "strategy", "position", "value")
_STEP_KEYS = ("strategy", "run", "before", "after", "ratio", "interval", "cause")
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
METRIC_NAMES = {
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
_SINCE = {Rising.STEP: "since run", Rising.DRIFT: "the drift began with run"}


def trends_record(trends: Trends) -> Record:
    """Return the trends as one document; an interval is a list of its two bounds, 95 %."""
    timings = trends.timings
    return {
        "metric": trends.metric.value,
        "environment": timings[-1].environment if timings else None,
        "runs": len({timing.run for timing in timings}),
        "since": plain(timings[0].started_at) if timings else None,
        "until": plain(timings[-1].started_at) if timings else None,
        "comparisons": [
            encode(one, _COMPARISON_KEYS, strategy=one.other, **_estimated("ratio", one.ratio))
            for one in trends.comparisons
        ],
        "steps": [
            encode(
                event,
                _STEP_KEYS,
                before=math.exp(event.step.before),
                after=math.exp(event.step.after),
                **_estimated("ratio", event.step.ratio),
            )
            for event in trends.events
        ],
        "rises": [rise_record(one) for one in trends.rises],
        "drift": [encode(drift, _DRIFT_KEYS, **_estimated("per_day", drift.per_day)) for drift in trends.drifts],
        "series": series_records(timings, trends.metric),
        "files": [encode(one, Counts._fields) for one in trends.counts],
    }


def _estimated(key: str, interval: Interval | None) -> Record:
    return {key: interval and interval.estimate, "interval": bounds(interval)}


def series_records(timings: Sequence[Timing], metric: Metric) -> list[Record]:
    """Return the values of a metric, in the order of the timings."""
    return [encode(timing, SERIES_KEYS, value=VALUES[metric](timing)) for timing in timings]


def rise_record(rise: Regression) -> Record:
    """Return how far the latest level lies above the lowest; levels are in the metric's unit, 0.2 is 20 % more."""
    return encode(rise, REGRESSION_KEYS[1:], interval=[rise.ratio.low - 1, rise.ratio.high - 1])


def trends_view(trends: Trends, width: int) -> RenderableType:
    """Render the trends, a sentence above each part, within a width."""
    timings, counts, comparisons, events, rises, drifts, metric, *_ = trends
    if not timings:
        return Text("no timings yet; run the job first", style="dim")
    parts: list[RenderableType] = []
    if comparisons:
        parts += [Text(comparison_sentence(one)) for one in comparisons]
        parts += [Text(""), comparison_table(comparisons), Text("")]
    parts += [Text(event_sentence(event)) for event in events] or [Text(f"{METRIC_NAMES[metric]}: no lasting step")]
    parts += [Text(rise_sentence(one)) for one in rises]
    parts.append(time_plot(timings, events, metric, width, rises, drifts))
    if ratio := ratio_plot(timings, comparisons, width):
        parts += [Text(""), Text("pool by sequential, run by run; below the line the pool was faster"), ratio]
    parts += [Text(""), *(Text(drift_sentence(drift)) for drift in drifts)]
    if len(counts) > 1:
        parts += [Text(""), Text(count_sentence(counts)), count_plot(counts, width)]
    return Group(*parts)


def trends_notes(trends: Trends, *, bounded: bool, steps: bool) -> list[str]:
    """Return notes about the timings that an answer leaves out.

    Args:
        trends: The answer.
        bounded: Whether only timings since an instant were asked for.
        steps: Whether to mention the last step, or the only strategy.
    """
    notes = []
    if trends.elsewhere:
        left = ("run was made in another environment and is", "runs were made in another environment and are")
        notes.append(f"{format_count(trends.elsewhere, *left)} left out")
    if steps and len(strategies := {timing.strategy for timing in trends.timings}) == 1:
        notes.append(f"only {strategies.pop()} is measured; to compare, add a strategy by `runner edit JOB --strategy`")
    if steps and trends.lasting:
        last = max(event.run for event in trends.lasting)
        notes.append(f"strategies are compared since run {last}, the last step")
    if not trends.timings and bounded:
        notes.append("there may be timings outside this time range")
    return notes


def verdict_view(runs: Sequence[Run]) -> RenderableType:
    """Render the comparison of the pool with sequential over runs in one environment."""
    executions = [one for run in runs for one in run.executions if one.wall_s is not None]
    sequential, pool = (
        [one.wall_s or 0.0 for one in executions if one.strategy == name] for name in ("sequential", "pool")
    )
    try:
        ratio = ratio_interval(sequential, pool)
    except NotEnoughRuns as error:
        return Text(f"Verdict: none yet. {error}")
    sentence = _verdict_sentence("sequential", "pool", judge(ratio), ratio, "")
    return Text(f"Verdict over {format_count(len(sequential), 'run')}: {sentence}.")


def _verdict_sentence(baseline: str, other: str, verdict: Verdict, ratio: Interval, cache: str) -> str:
    said = _VERDICTS[verdict].format(ratio=f"{ratio.estimate:.2f}{cells.TIMES}", baseline=baseline)
    return f"{other} {said} (95 % interval {ratio.low:.2f}–{ratio.high:.2f}{cache})"


def comparison_sentence(one: Comparison) -> str:
    """Format how two strategies compare."""
    cache = f"cache {one.place}"
    if one.ratio is None or one.verdict is None:
        return f"{one.other} against {one.baseline} ({cache}): {one.message}."
    more = ""
    if one.verdict is Verdict.UNDECIDED:
        runs = format_count(one.further_runs or 0, "more run")
        more = f"; about {runs} will decide" if one.further_runs else "; it is at the limit"
    return f"{_verdict_sentence(one.baseline, one.other, one.verdict, one.ratio, f', {cache}')}{more}."


def comparison_table(comparisons: Sequence[Comparison]) -> Grid:
    """Return the comparisons of strategies as a table."""
    columns = [
        Column("strategy", lambda one: f"{one.other} / {one.baseline}"),
        Column("cache", "place"),
        Column("runs", "runs", right=True),
        Column("speed-up", lambda one: cells.number(one.speed_up, ".2f"), right=True),
        Column("efficiency", lambda one: cells.number(one.efficiency, ".0%"), right=True, priority=1),
        Column("CPU inflation", lambda one: cells.number(one.cpu_inflation, ".2f"), right=True, priority=1),
    ]
    return Grid(rows=comparisons, columns=columns, split=True)


def event_sentence(event: Event) -> str:
    """Format a step, with its interval and its cause."""
    change = event.step.ratio.estimate - 1
    why = f": {_CAUSES[event.cause, change > 0]}" if event.cause else ""
    interval = _span(event.step.ratio, ".0%", less=1)
    return f"{event.strategy}, {METRIC_NAMES[event.metric]}: {change:+.0%} since run {event.run} ({interval}){why}"


def _span(interval: Interval, spec: str, less: float) -> str:
    low, high = (format(bound - less, f"+z{spec}") for bound in (interval.low, interval.high))
    return f"95 % interval {low} to {high}"


def rise_sentence(rise: Regression) -> str:
    """Format how far the latest level lies above the lowest."""
    return (
        f"{rise.strategy}, {METRIC_NAMES[rise.metric]}: {rise.rise:+.0%} above its lowest level "
        f"({_span(rise.ratio, '.0%', less=1)}), by {rise.shape}, "
        f"{_SINCE.get(rise.shape, 'the last with run')} {rise.since_run}"
    )


def drift_sentence(drift: Drift) -> str:
    """Format the drift of a strategy."""
    slope = drift.per_day
    if slope is None:
        return f"{drift.strategy}, drift: {drift.message}"
    direction = "drifts up" if slope.low > 0 else "drifts down" if slope.high < 0 else "has no measurable drift"
    return (
        f"{drift.strategy} {direction}, {slope.estimate:+z.3%} a day "
        f"({_span(slope, '.3%', less=0)}, Theil and Sen's slope of daily medians)"
    )


def count_sentence(counts: Sequence[Counts]) -> str:
    """Format how the number of files developed."""
    added, removed = (sum(getattr(one, key) or 0 for one in counts[1:]) for key in ("added", "removed"))
    return (
        f"{format_count(counts[-1].files, 'file')} now, {counts[0].files:,} in run {counts[0].run}; "
        f"+{added:,} {cells.MINUS}{removed:,} in between"
    )


def summary_records(found: Mapping[str, Sequence[Summary]]) -> Iterator[Record]:
    """Yield a record for each job and strategy."""
    return (encode(one, SUMMARY_KEYS, job=job) for job, each in found.items() for one in each)


def summaries_table(found: Mapping[str, Sequence[Summary]]) -> RenderableType:
    """Render the summaries of jobs."""
    columns = [
        Column("job", lambda row: printable(row[0]), least=10, fold=True),
        Column("strategy", lambda row: row[1].strategy),
        Column("runs", lambda row: row[1].runs, right=True, priority=2),
        Column("level", lambda row: format_value(row[1].level, row[1].metric), right=True),
        Column("to sequential", lambda row: cells.number(row[1].ratio, ".2f"), right=True, priority=1),
        Column("verdict", lambda row: row[1].verdict),
        Column("change", lambda row: cells.number(row[1].change, "+.0%"), right=True),
        Column("shape", lambda row: row[1].shape, priority=1),
        Column("since run", lambda row: row[1].since_run, right=True, priority=3),
    ]
    rows = [(job, one) for job, each in found.items() for one in each]
    return Grid(rows=rows, columns=columns, empty="no timings yet; run a job first")


def regressions_table(found: Mapping[str, Sequence[Regression]]) -> RenderableType:
    """Render regressions by job."""
    columns = [
        Column("job", lambda row: row[0], least=10, fold=True),
        Column("strategy", lambda row: row[1].strategy),
        Column("rise", lambda row: Cell(f"{row[1].rise:+.0%}", "red"), right=True),
        Column("best", lambda row: format_value(row[1].best, row[1].metric), right=True, priority=1),
        Column("latest", lambda row: format_value(row[1].latest, row[1].metric), right=True, priority=1),
        Column("shape", lambda row: row[1].shape, priority=1),
        Column("since run", lambda row: str(row[1].since_run), right=True),
    ]
    rows = [(job, each) for job, regressions in found.items() for each in regressions]
    return Grid(rows=rows, columns=columns, empty="no regressions")
