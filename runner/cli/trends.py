"""``runner trends`` and ``regressions``: the timings of a job over time."""

from typing import TYPE_CHECKING, Annotated

import typer

from runner.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from runner.history.database import Database
    from runner.trends.report import Metric, Regression


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (trends, regressions):
        app.command(rich_help_panel=options.ASKING)(command)


MetricName = Annotated[
    str,
    typer.Option(
        "--metric",
        metavar="METRIC",
        help="wall_s, wall_per_entry_s, cpu_s, startup_s or max_rss_bytes.",
    ),
]
Since = Annotated[str | None, options.when("Only runs from this instant on, or from 90d ago.")]


def trends(
    job: options.JobArgument,
    since: Since = None,
    until: Annotated[str | None, options.when("Only runs before this instant.")] = None,
    metric: MetricName = "wall_s",
    fmt: options.FormatOption = "table",
    db: options.Db = None,
) -> None:
    """Show whether the pool is faster, when a job became slower and by how much, and its drift.

    Only runs in the environment of the last run (machine, Python, workers and the like) are compared. A comparison is
    decided if the whole 95 % interval is inside or on one side of a band of ±5 %.

    [bold]Examples[/bold]

    runner trends docs --since 90d

    runner trends docs --metric wall_per_entry_s --format json
    """
    from datetime import UTC, datetime

    from runner.cli.output import emit
    from runner.history.jobs import get_job
    from runner.history.time_range import parse_time_range
    from runner.history.timings import list_counts, list_timings
    from runner.model.units import format_count
    from runner.output.console import make_console
    from runner.output.trends import SERIES_KEYS, Trends, series_records, trends_record, trends_view
    from runner.trends.report import (
        Metric,
        compare,
        find_creeps,
        find_events,
        find_regressions,
        newest_series,
        since_last_step,
    )

    followed = _metric(metric)
    start, end = parse_time_range(since, until, datetime.now(UTC))
    with options.answering(db) as view:
        known = get_job(view, job, removed=True)
        timings = list_timings(view, known.job_id, since=start, until=end)
        counts = list_counts(view, known.job_id, since=start, until=end)
    series = newest_series(timings)
    if len(series) < len(timings):
        left = ("run was made in another environment and is", "runs were made in another environment and are")
        elsewhere = len({timing.run for timing in timings} - {timing.run for timing in series})
        typer.echo(f"note: {format_count(elsewhere, *left)} left out", err=True)
    events = find_events(series, followed)
    lasting = events if followed is Metric.WALL else find_events(series)
    said = Trends(
        series,
        counts,
        compare(since_last_step(series, lasting)),
        events,
        find_regressions(series, over=0.0, metric=followed),
        find_creeps(series, events, followed),
        followed,
    )
    if timings and fmt == "table" and lasting:
        typer.echo(
            f"note: strategies are compared since run {max(event.run for event in lasting)}, the last step", err=True
        )
    if not timings and since is not None:
        typer.echo("note: there may be timings outside this time range", err=True)
    emit(
        fmt,
        lambda: [trends_view(said, width=make_console().width)],
        series_records(series, followed),
        columns=SERIES_KEYS,
        document=lambda: trends_record(said),
    )


def regressions(
    job: options.OptionalJob = None,
    fail_over: Annotated[
        str, typer.Option(metavar="PERCENT", help="How much slower than its best level a strategy may be.")
    ] = "20%",
    since: Since = None,
    metric: MetricName = "wall_per_entry_s",
    acknowledge: Annotated[  # noqa: FBT002  a flag
        bool, typer.Option("--acknowledge", help="Accept the regressions found as the new baseline.")
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
    from datetime import UTC, datetime

    from runner.cli.output import emit
    from runner.history.time_range import parse_time_range
    from runner.output.trends import REGRESSION_KEYS, regressions_table, rise_record

    followed = _metric(metric)
    over = _parse_percent(fail_over)
    now = datetime.now(UTC)
    start, _ = parse_time_range(since, None, now)
    with options.opened(db) as (database, _):
        options.require(database)  # a typing error must not pass as a good answer
        found = _find_regressions(database, job, start, over, followed, now if acknowledge else None)
    records = ({"job": name, **rise_record(one)} for name, slower in found.items() for one in slower)
    emit(fmt, lambda: [regressions_table(found)], records, columns=REGRESSION_KEYS)
    if found and acknowledge:
        typer.echo("acknowledged; slower levels will be found again", err=True)
    elif found:
        raise typer.Exit(1)


def _find_regressions(
    database: "Database",
    job: str | None,
    start: "datetime | None",
    over: float,
    metric: "Metric",
    acknowledged_at: "datetime | None",
) -> "dict[str, Sequence[Regression]]":
    """Find the regressions by job, and acknowledge them at an instant if there is one."""
    from runner.history.jobs import get_job, list_jobs
    from runner.history.timings import acknowledge, list_acknowledged, list_timings
    from runner.trends.report import find_regressions, newest_series

    read = []
    with database.view() as view:
        for each in [get_job(view, job, removed=True)] if job is not None else list_jobs(view):
            if series := newest_series(list_timings(view, each.job_id, since=start)):
                accepted = list_acknowledged(view, each.job_id, series[-1].environment, metric.value)
                read.append((each, series, accepted))
    found: dict[str, Sequence[Regression]] = {}
    for each, series, accepted in read:
        slower = find_regressions(series, over=over, metric=metric, accepted=accepted)
        if slower and acknowledged_at is not None:
            names, last = [one.strategy for one in slower], series[-1]
            acknowledge(database, each.job_id, last.environment, metric.value, names, last.run, acknowledged_at)
        if slower:
            found[each.spec.name] = slower
    return found


def _metric(text: str) -> "Metric":
    from runner.model.errors import UsageError
    from runner.trends.report import Metric

    try:
        return Metric(text)
    except ValueError:
        raise UsageError(f"there is no metric {text!r}; choose from {', '.join(Metric)}") from None


def _parse_percent(text: str) -> float:
    from runner.model.errors import UsageError

    number = text.removesuffix("%").strip()
    if number == text or not number.replace(".", "", 1).isascii() or not number.replace(".", "", 1).isdigit():
        raise UsageError(f"{text!r} is not a percentage; write it like 20%")
    return float(number) / 100
