"""``runner next``: the coming fire times."""

from typing import TYPE_CHECKING, Annotated

import typer

from runner.cli import options

if TYPE_CHECKING:
    from datetime import datetime

    from runner.model.jobs import Job
    from runner.schedules.fire_times import FireTime


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("next", rich_help_panel=options.JOBS)(upcoming)


def upcoming(
    job: options.OptionalJob = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=10_000, help="How many fire times.")] = 5,
    fmt: options.FormatOption = "table",
    db: options.Db = None,
) -> None:
    """Show the coming fire times, with the gaps and repeats of daylight saving marked.

    Of a paused job, which is only shown by its name, they are marked as such: it fires at none of them until it is
    resumed.

    [bold]Example[/bold]

    runner next docs --count 10
    """
    from dataclasses import replace
    from datetime import UTC, datetime
    from heapq import merge
    from itertools import islice

    from runner.cli.output import write_records, write_table
    from runner.history.jobs import get_job, list_jobs
    from runner.model.units import format_instant
    from runner.schedules.fire_times import coming

    def notes_on(one: "Job", time: "FireTime") -> "FireTime":
        notes = [note for note in ("paused" if one.spec.paused else "", time.note) if note]
        return replace(time, note="; ".join(notes))

    now = datetime.now(UTC)
    with options.answering(db) as view:
        chosen = list_jobs(view) if job is None else [get_job(view, job)]
    lists = [
        [(time.at, one.spec.name, notes_on(one, time)) for time in coming(one.spec.schedule, one.job_id, now, count)]
        for one in chosen
        if one.spec.schedule is not None and (job is not None or next_firing(one, now) is not None)
    ]
    rows = list(islice(merge(*lists, key=lambda row: row[:2]), count))
    if fmt == "table":
        from runner.output.tables import next_table

        write_table(next_table([time for _, _, time in rows], now=now, jobs=[name for _, name, _ in rows]))
    else:
        columns = ("job", "at", "local", "note")
        write_records(
            (
                dict(
                    zip(
                        columns, (name, format_instant(time.at), time.local.isoformat(), time.note or None), strict=True
                    )
                )
                for _, name, time in rows
            ),
            fmt,
            columns=columns,
        )


def next_firing(job: "Job", now: "datetime") -> "datetime | None":
    """Tell when a job fires next; one whose time zone is not known here is named on stderr, and the others go on."""
    from runner.model.errors import UsageError
    from runner.output.text import harmless
    from runner.schedules.fire_times import next_fire_time

    if job.spec.schedule is None or job.spec.paused:
        return None
    try:
        return next_fire_time(job.spec.schedule, job.job_id, now)
    except UsageError as error:
        typer.echo(harmless(f"{job.spec.name} can't be fired: {error}"), err=True)
        return None
