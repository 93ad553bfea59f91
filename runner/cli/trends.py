"""``runner trends`` and ``regressions``: the timings of a job over time."""

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from runner.cli import options, output
from runner.history import database, jobs, time_range, timings
from runner.model.errors import UsageError
from runner.model.units import format_count
from runner.output import console
from runner.output import trends as rendering
from runner.output.text import harmless
from runner.trends import job_trends, report, summary

MetricName = Annotated[
    str, options.option("wall_s, wall_per_entry_s, cpu_s, startup_s or max_rss_bytes.", "--metric", metavar="METRIC")
]
Since = Annotated[str | None, options.when("Only runs from this instant on: 2026-11-22, 90d (ago), yesterday.")]


def trends(
    job: options.OptionalJob = None,
    *,
    tag: options.Tag = None,
    since: Since = None,
    until: Annotated[str | None, options.when("Only runs before this instant.")] = None,
    metric: MetricName = "wall_s",
    fmt: options.FormatOption = "table",
    db: options.Db = None,
) -> None:
    """Show whether the pool is faster, when a job became slower and by how much, and its drift.

    Without a job it lists all jobs: the latest level of each strategy, its wall time against sequential, and its rise
    above the lowest level, or the last step if it fell.

    Only runs in the environment of the last run (machine, Python, workers and the like) are compared. A comparison is
    decided if the whole 95 % interval is inside or on one side of a band of ±5 %.

    [bold]Examples[/bold]

    runner trends

    runner trends docs --since 90d

    runner trends docs --metric wall_per_entry_s --format json
    """
    followed = _parse_metric(metric)
    start, end = time_range.parse_time_range(since, until, datetime.now(UTC))
    if job is None:
        _show_summaries(tag, start, end, followed, fmt, db)
        return
    with options.answering(db) as view:
        [known] = jobs.list_chosen_jobs(view, job, tag, removed=True)
        found = timings.list_timings(view, known.job_id, since=start, until=end)
        counts = timings.list_counts(view, known.job_id, since=start, until=end)
    answer = job_trends.compute_trends(found, counts, followed)
    options.echo_notes(rendering.trends_notes(answer, bounded=since is not None, steps=fmt == "table"))
    output.emit(
        fmt,
        lambda: [rendering.trends_view(answer, width=console.make_console().width)],
        rendering.series_records(answer.timings, followed),
        columns=rendering.SERIES_KEYS,
        document=lambda: rendering.trends_record(answer),
    )


def _show_summaries(
    tag: str | None,
    start: datetime | None,
    end: datetime | None,
    metric: "report.Metric",
    fmt: options.FormatName,
    db: str | None,
) -> None:
    with options.answering(db) as view:
        series = {
            one.spec.name: report.newest_series(timings.list_timings(view, one.job_id, since=start, until=end))
            for one in jobs.list_chosen_jobs(view, None, tag)
        }
    found = {name: summary.summarise(own, metric) for name, own in series.items()}
    output.emit(
        fmt,
        lambda: [rendering.summaries_table(found)],
        rendering.summary_records(found),
        columns=rendering.SUMMARY_KEYS,
    )


def regressions(
    job: options.OptionalJob = None,
    *,
    tag: options.Tag = None,
    fail_over: Annotated[
        str, options.option("How much slower than its best level a strategy may be.", metavar="PERCENT")
    ] = "20%",
    since: Since = None,
    metric: MetricName = "wall_per_entry_s",
    acknowledge: Annotated[
        bool, options.option("Accept the regressions found as the new baseline.", "--acknowledge")
    ] = False,
    fmt: options.FormatOption = "table",
    db: options.Db = None,
) -> None:
    """List strategies that became slower and have not recovered. Exits with 1 if there is one, for CI.

    The latest level is compared with the lowest earlier one in the same environment, after steps or a drift; a single
    slow run is not a level. The default metric is the wall time per entry, which does not change when the tree grows;
    --metric wall_s includes that.

    [bold]Examples[/bold]

    runner regressions --fail-over 20%

    runner regressions docs --fail-over 10% --acknowledge
    """
    followed = _parse_metric(metric)
    over = _parse_percent(fail_over)
    now = datetime.now(UTC)
    start, _ = time_range.parse_time_range(since, None, now)
    with options.opened(db) as (database, _):
        options.require(database)  # a typing error must not pass as a good answer
        found = _find_regressions(database, job, tag, start, over, followed, now if acknowledge else None)
    records = ({"job": name, **rendering.rise_record(one)} for name, slower in found.items() for one in slower)
    output.emit(fmt, lambda: [rendering.regressions_table(found)], records, columns=rendering.REGRESSION_KEYS)
    if found and acknowledge:
        options.echo("acknowledged; slower levels will be found again")
    elif found:
        raise typer.Exit(1)


def _find_regressions(
    opened: "database.Database",
    job: str | None,
    tag: str | None,
    start: datetime | None,
    over: float,
    metric: "report.Metric",
    acknowledged_at: datetime | None,
) -> "dict[str, list[report.Regression]]":
    """Find the regressions by job, and acknowledge them at an instant if there is one."""
    read, short = [], []
    with opened.view() as view:
        for each in jobs.list_chosen_jobs(view, job, tag, removed=True):
            if series := report.newest_series(timings.list_timings(view, each.job_id, since=start)):
                accepted = timings.list_acknowledged(view, each.job_id, series[-1].environment, metric.value)
                read.append((each, series, accepted))
            if missing := report.missing_runs(series):
                short.append(f"{each.spec.name} needs {format_count(missing, 'more run')}")
    if short:
        more = f", and {format_count(len(short) - 3, 'more job')}" if len(short) > 3 else ""
        options.echo_notes([harmless(f"too few runs to find a regression: {', '.join(short[:3])}{more}")])
    found: dict[str, list[report.Regression]] = {}
    for each, series, accepted in read:
        slower = report.find_regressions(series, over=over, metric=metric, accepted=accepted)
        if slower and acknowledged_at is not None:
            names, last = [one.strategy for one in slower], series[-1]
            timings.acknowledge(opened, each.job_id, last.environment, metric.value, names, last.run, acknowledged_at)
        if slower:
            found[each.spec.name] = slower
    return found


def _parse_metric(text: str) -> "report.Metric":
    try:
        return report.Metric(text)
    except ValueError:
        raise UsageError(f"there is no metric {text!r}; choose from {', '.join(report.Metric)}") from None


def _parse_percent(text: str) -> float:
    number = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)\s*%", text.strip(), re.ASCII)
    if number is None:
        raise UsageError(f"{text!r} is not a percentage; write it like 20%")
    return float(number[1]) / 100
