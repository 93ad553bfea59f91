"""``runner next``: the next fire times."""

from typing import TYPE_CHECKING, Annotated

import typer

from runner.cli import options

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import RenderableType

    from runner.model.jobs import Job
    from runner.schedules.fire_times import FireTime


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("next", rich_help_panel=options.JOBS)(upcoming)


def upcoming(
    job: options.OptionalJob = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=10_000, help="Number of fire times.")] = 5,
    fmt: options.FormatOption = "table",
    db: options.Db = None,
) -> None:
    """Show the next fire times, with a note at the gaps and repeats of daylight saving.

    The fire times of a paused job are shown only if it is named, with a note: it does not fire until it is resumed.

    [bold]Example[/bold]

    runner next docs --count 10
    """
    from dataclasses import replace
    from datetime import UTC, datetime
    from heapq import merge
    from itertools import islice

    from runner.cli.output import emit
    from runner.history.jobs import get_job, list_jobs
    from runner.model.units import format_instant
    from runner.schedules.fire_times import list_fire_times

    def notes_on(one: "Job", time: "FireTime") -> "FireTime":
        notes = [note for note in ("paused" if one.spec.paused else "", time.note) if note]
        return replace(time, note="; ".join(notes))

    now = datetime.now(UTC)
    with options.answering(db) as view:
        chosen = list_jobs(view) if job is None else [get_job(view, job)]
    lists = [
        [
            (time.at, one.spec.name, notes_on(one, time))
            for time in list_fire_times(one.spec.schedule, one.job_id, now, count)
        ]
        for one in chosen
        if one.spec.schedule is not None and (job is not None or next_firing(one, now) is not None)
    ]
    rows = list(islice(merge(*lists, key=lambda row: row[:2]), count))

    def render() -> "list[RenderableType]":
        from runner.output.tables import next_table

        return [next_table([time for _, _, time in rows], now=now, jobs=[name for _, name, _ in rows])]

    records = (
        {"job": name, "at": format_instant(at), "local": time.local.isoformat(), "note": time.note or None}
        for at, name, time in rows
    )
    emit(fmt, render, records, columns=("job", "at", "local", "note"))


def next_firing(job: "Job", now: "datetime") -> "datetime | None":
    """Return the next fire time of a job; None, with a line on stderr, if its time zone is unknown here."""
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
