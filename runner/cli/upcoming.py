"""``runner next``: the next fire times."""

from dataclasses import replace
from datetime import UTC, datetime
from heapq import merge
from itertools import islice
from typing import Annotated

from runner.cli import options, output
from runner.history import jobs
from runner.model.errors import UsageError
from runner.model.jobs import Job
from runner.model.units import format_instant
from runner.output import tables
from runner.output.text import harmless
from runner.schedules import fire_times


def upcoming(
    job: options.OptionalJob = None,
    *,
    tag: options.Tag = None,
    count: Annotated[int, options.option("Number of fire times.", "--count", "-n", least=1, most=10_000)] = 5,
    fmt: options.FormatOption = "table",
    db: options.Db = None,
) -> None:
    """Show the next fire times, with a note at the gaps and repeats of daylight saving.

    The fire times of a paused job are shown only if it is named, with a note: it does not fire until it is resumed.

    [bold]Example[/bold]

    runner next docs --count 10
    """
    now = datetime.now(UTC)
    with options.answering(db) as view:
        chosen = jobs.list_chosen_jobs(view, job, tag)
        if fmt == "table" and any(next_firing(one, now) for one in chosen):
            options.note_dead_daemon(view, now)
    lists = [
        [(time.at, one.spec.name, _with_pause(one, time)) for time in _list_fire_times(one, now, count)]
        for one in chosen
        if job is not None or next_firing(one, now) is not None
    ]
    rows = list(islice(merge(*lists, key=lambda row: row[:2]), count))
    records = (
        {"job": name, "at": format_instant(at), "local": time.local.isoformat(), "note": time.note or None}
        for at, name, time in rows
    )
    output.emit(
        fmt,
        lambda: [tables.next_table([time for _, _, time in rows], now=now, jobs=[name for _, name, _ in rows])],
        records,
        columns=("job", "at", "local", "note"),
    )


def next_firing(job: Job, now: datetime) -> datetime | None:
    """Return the next fire time of a job; None, with a line on stderr, if its time zone is unknown here."""
    fires = next_fire(job, now)
    return None if fires is None else fires.at


def next_fire(job: Job, now: datetime) -> "fire_times.FireTime | None":
    """Return the next fire time of a job as :func:`next_firing`, in its time zone and with its note."""
    if job.spec.paused:
        return None
    try:
        return next(iter(_list_fire_times(job, now, 1)), None)
    except UsageError as error:
        options.echo(harmless(f"{job.spec.name} can't be fired: {error}"))
        return None


def _list_fire_times(job: Job, now: datetime, count: int) -> "list[fire_times.FireTime]":
    schedule = job.spec.schedule
    return list(fire_times.list_fire_times(schedule, job.job_id, now, count)) if schedule is not None else []


def _with_pause(job: Job, time: "fire_times.FireTime") -> "fire_times.FireTime":
    notes = [note for note in ("paused" if job.spec.paused else "", time.note) if note]
    return replace(time, note="; ".join(notes))
