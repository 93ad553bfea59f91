"""Runs and jobs with nothing special about them, to be changed by tests, and names with everything special."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console, RenderableType

from runner.model.jobs import Event, Job, JobSpec, Schedule, ScheduleKind, Selection
from runner.model.notifications import Notification
from runner.model.runs import Cache, Cause, Environment, Execution, Run, Status
from runner.output.text import unprinted

NOW = datetime(2026, 11, 22, 10, 2, tzinfo=UTC)
NOTIFICATION = Notification(
    event=Event.CHANGE,
    command=("mail", "-s", "two words"),
    started_at=NOW,
    wall_s=0.25,
    exit_code=None,
    message="it is missing",
)
NASTY_NAMES = (
    b"caf\xe9.md",
    "café 🦊 日本.md".encode(),
    b"a\n\x1b]0;x\x07.md",
    b"[/b].md",
    b"[red]x[/red].md",
    b":smile:.md",
    "\u202egpj.md".encode(),
    b"back\\slash\\x07.md",
    b"tab\tbell\x07del\x7f.md",
    "c1\x9b31m\u2028\u200b\ufeff\U000e0041.md".encode(),
    b'=1+1,"quoted"\'.md',
)
# Whatever a terminal, a line-based tool or the bidirectional algorithm would act on; the newline ends lines.
ACTIVE = {chr(code) for code in (*range(10), *range(11, 32), *range(127, 160), 0x61C, 0x200E, 0x200F, 0x2028, 0x2029)}
ACTIVE |= {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF, 0x200B, 0xAD)}

SEQUENTIAL = Execution(
    strategy="sequential", position=2, status=Status.SUCCEEDED, cache=Cache.WARM, wall_s=0.4712345678, user_s=0.2,
    system_s=0.25, max_rss_bytes=20_000_000, files=2987, directories=101, entries=30_000,
)  # fmt: skip
POOL = replace(
    SEQUENTIAL, strategy="pool", position=1, workers=2, start_method="fork", wall_s=0.27, startup_s=0.01, user_s=0.31
)
ENVIRONMENT = Environment(
    host="box", system="Linux 6.1.0", machine="x86_64", python="CPython 3.11.7", cpus=2, start_method="fork", workers=2,
    filesystem="ext4", runner_version="0.1.0",
)  # fmt: skip
RUN = Run(
    run_id=12,
    job_id=1,
    job="docs",
    root=b"/srv/docs",
    cause=Cause.SCHEDULE,
    status=Status.SUCCEEDED,
    scheduled_at=NOW - timedelta(minutes=2),
    started_at=NOW - timedelta(minutes=2) + timedelta(milliseconds=31),
    finished_at=NOW - timedelta(minutes=1, seconds=59),
    wall_s=0.91,
    files=2987,
    directories=101,
    added=1,
    removed=1,
    modified=1,
    executions=(POOL, SEQUENTIAL),
    environment=ENVIRONMENT,
)
MISSED = replace(
    RUN,
    run_id=11,
    status=Status.MISSED,
    scheduled_at=NOW - timedelta(hours=14),
    started_at=None,
    finished_at=NOW - timedelta(hours=2),
    missed=12,
    message="no daemon ran from 2026-11-21T20:02:00Z to 2026-11-22T08:02:00Z",
    executions=(),
    environment=None,
    wall_s=None,
    files=None,
    directories=None,
    added=None,
    removed=None,
    modified=None,
)
FAILED = replace(
    MISSED,
    run_id=10,
    status=Status.FAILED,
    missed=0,
    started_at=NOW - timedelta(days=1),
    message="the folder /srv/docs does not exist; create it or change the job with 'runner edit docs'",
    executions=(Execution(strategy="pool", position=1, status=Status.FAILED, workers=2, message="no such folder"),),
)
JOB = Job(
    job_id=1,
    spec=JobSpec(
        name="docs",
        root=b"/srv/docs",
        selection=Selection(patterns=("*.md", "*.rst"), excludes=(".git",)),
        schedule=Schedule(
            kind=ScheduleKind.EVERY, expression="1h", timezone="Europe/Berlin", interval_origin=NOW, jitter_s=30
        ),
    ),
    created_at=NOW - timedelta(days=3),
    schedule_start=NOW - timedelta(days=3),
)


def run_of(number: int, **changes: Any) -> Run:
    """Return the example run with another number and other changed attributes."""
    return replace(RUN, run_id=number, **changes)


def original(shown: str) -> bytes:
    """Return the argument of ``printable``; that there is one makes it injective."""
    return unprinted(shown).encode("utf-8", "surrogateescape")


def drawn(*renderables: RenderableType, width: int = 80, colour: bool = False) -> str:
    """Print as ``make_console`` would, but leave lines that are too long as they are, so that tests see them."""
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, force_terminal=colour, color_system="standard" if colour else None, markup=False,
        highlight=False, emoji=False,
    )  # fmt: skip
    for renderable in renderables:
        console.print(renderable, crop=False)
    return stream.getvalue()
