"""The history in the sample database: jobs and runs with fixed instants, written by the product of schema 0006."""

import errno
import os
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from firings import add_due, add_not_run
from sqlalchemy import text

from runner.history.calibrations import begin_calibration, finish_calibration, record_round
from runner.history.daemons import record_daemon, record_heartbeat
from runner.history.database import Database
from runner.history.jobs import add_job, change_job, get_job, remove_job
from runner.history.notifications import record_notification
from runner.history.recording import RunOutcome, begin_run, finish_run
from runner.history.timings import acknowledge
from runner.model.calibration import Condition, Measurement, Question
from runner.model.jobs import Catchup, Event, Job, JobSpec, Notify, Schedule, ScheduleKind, Selection, Track
from runner.model.notifications import Notification
from runner.model.runs import Cache, Cause, Difference, Environment, Execution, Owner, Status
from runner.scan.snapshot import PLACE, STAMPS, UNKNOWN, Listing, Part, Snapshot, found_names

START = datetime(2026, 3, 20, 0, 0, tzinfo=UTC)
HERE = Environment(
    host="golden", system="Linux 6.1.0", machine="x86_64", python="CPython 3.11.7", cpus=2, start_method="fork",
    workers=2, filesystem="ext4", runner_version="0.1.0",
)  # fmt: skip
ELSEWHERE = replace(HERE, host="caf\u00e9 <b>&\u202e", cpus=8, workers=8, filesystem="", start_method="forkserver")
# Of another machine, where nothing can be looked for from here.
OWNER = Owner(host="elsewhere", boot="a-boot", pid=4711, started_s=1234.5)

LONG = b"n" * 252 + b".md"
ODD = {
    b"caf\xe9.md": (10, 1_700_000_000_000_000_000),
    b"new\nline.md": (11, 1_700_000_000_123_456_789),
    b"\x1b]0;title\x07.md": (12, 0),
    b"<b>&amp;[bold]markup[/bold].md": (13, -1),
    "\u202etfel-ot-thgir\u200f.md".encode(): (14, 2**63 - 1),
    b"=cmd|' /C calc'!A0.md": (15, 1_700_000_000_000_000_000),
    b"'quoted\".md": (16, 1_700_000_000_000_000_000),
    LONG: (2**33, 1_700_000_000_000_000_000),
    "\u00e4 \U0001f98a.md".encode(): (0, -(2**62)),
}
PLAIN = {b"a.md": (100, 1_750_000_000_000_000_000), b"b.md": (2_000, 1_750_000_000_500_000_000)}

Tree = Mapping[bytes, Mapping[bytes, tuple[int, int] | None]]


def write_history(database: Database) -> None:
    """Write the whole history."""
    docs = _write_docs(database)
    nightly = _write_nightly(database)
    _write_odd(database)
    _write_incremental(database)
    _write_replaced(database)
    _write_quiet_jobs(database)
    _write_calibrations(database)
    with database.read() as connection:
        environment = connection.execute(text("SELECT environment_id FROM runs WHERE id = 1")).scalar_one()
    acknowledge(database, docs.job_id, environment, "wall_s", ["pool"], 20, _at(21))
    acknowledge(database, nightly.job_id, environment, "wall_per_entry_s", ["sequential", "pool"], 70, _at(190))
    record_daemon(database, OWNER, _at(100))
    record_heartbeat(database, OWNER, _at(200), stopped=True)
    _begin(database, docs, 202, Cause.SCHEDULE)  # and goes on, on a machine out of sight


def _at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def _noise(number: int) -> float:
    """Return a factor within 4 % of 1 that looks like chance and is the same everywhere."""
    return 0.96 + 0.08 * (number * 2_654_435_761 % 2**32) / 2**32


def _snapshot(tree: Tree, unreadable: Sequence[bytes] = (), *, stat: bool = True) -> Snapshot:
    part = Part()
    part.problems = [(path, errno.EACCES, os.strerror(errno.EACCES)) for path in unreadable]
    for path, found in tree.items():
        stats = array("q")
        for name in sorted(found) if stat else ():
            stats.extend(found[name] or (UNKNOWN, UNKNOWN))
        listing = Listing(path, b"\0".join(sorted(found)), stats.tobytes())
        part.names.append(listing.path)
        part.found.append(listing.names)
        part.stats.append(listing.stats)
        part.places += PLACE.pack(-1, len(found_names(listing.names)))
        part.stamps += STAMPS.pack(1, 2, 3, 4)
    return Snapshot.from_part(part)


def _begin(
    database: Database, job: Job, hour: float, cause: Cause, attempt: int = 1, late_s: float = 0.25,
    environment: Environment = HERE,
) -> int:  # fmt: skip
    scheduled_at = None if cause is Cause.MANUAL else _at(hour)
    return begin_run(
        database, job, add_due(database, job, scheduled_at, cause=cause, attempt=attempt),
        clock=lambda: _at(hour) + timedelta(seconds=late_s), environment=environment, owner=OWNER,
    )  # fmt: skip


def _play(
    database: Database, job: Job, hour: float, status: Status = Status.SUCCEEDED, *, cause: Cause = Cause.SCHEDULE,
    attempt: int = 1, environment: Environment = HERE, **ending: Any,
) -> int:  # fmt: skip
    run_id = _begin(database, job, hour, cause, attempt, environment=environment)
    finished_at = _at(hour) + timedelta(seconds=2.5)
    assert finish_run(database, run_id, RunOutcome(status=status, finished_at=finished_at, **ending))
    return run_id


def _executions(
    walls: Mapping[str, float], status: Status = Status.SUCCEEDED, message: str | None = None, workers: int = 2
) -> list[Execution]:
    """Make the executions of a run, in this order."""
    made = []
    for position, (strategy, wall_s) in enumerate(walls.items(), start=1):
        pool = strategy == "pool"
        finished = status in {Status.SUCCEEDED, Status.PARTIAL}
        made.append(
            Execution(
                strategy=strategy, position=position, status=status, workers=workers if pool else 1,
                start_method="fork" if pool else None, wall_s=wall_s if finished else None,
                startup_s=(0.004 if pool else 0.0) if finished else None, user_s=round(wall_s / 2, 6),
                system_s=round(wall_s / 4, 6), max_rss_bytes=20_000_000 + position,
                cache=Cache.COLD if position == 1 else Cache.WARM, files=6 if finished else None,
                directories=3 if finished else None, entries=40 if finished else None, message=message,
            )
        )  # fmt: skip
    return made


def _every(expression: str, **more: Any) -> Schedule:
    return Schedule(kind=ScheduleKind.EVERY, expression=expression, timezone="UTC", anchor_at=START, **more)


def _write_docs(database: Database) -> Job:
    """Create two strategies every hour: sequential gets slower from run 33 on, after new patterns at run 24."""
    spec = JobSpec(name="docs", root=b"/srv/golden/docs", schedule=_every("1h", jitter_s=60), timeout_s=600)
    job = add_job(database, spec, START)
    tree: dict[bytes, dict[bytes, tuple[int, int] | None]] = {
        b"": dict(PLAIN), b"guide": dict(PLAIN), b"guide/deep": dict(PLAIN)
    }  # fmt: skip
    for number in range(1, 61):
        if number == 24:
            job = change_job(database, job, replace(spec, selection=Selection(patterns=("*.md", "*.txt"))), _at(23.5))
            tree[b"guide"][b"added.txt"] = (5, 1_760_000_000_000_000_000)
        if number % 10 == 0:
            tree[b"guide"][b"a.md"] = (100 + number, 1_750_000_000_000_000_000 + number)
            tree[b""][b"file-%d.md" % number] = (number, 1_755_000_000_000_000_000)
        if number == 25:
            del tree[b"guide/deep"][b"b.md"]
        if number == 35:
            tree[b"guide/deep"][b"b.md"] = (1, 1_756_000_000_000_000_000)
        walls = {"sequential": 0.5 if number < 33 else 0.75, "pool": 0.3}
        order = list(walls) if number % 2 else list(walls)[::-1]
        walls = {name: round(walls[name] * _noise(2 * number + (name == "pool")), 6) for name in order}
        _play(database, job, number, executions=_executions(walls), wall_s=1.25, snapshot=_snapshot(tree))
    return job


def _write_nightly(database: Database) -> Job:
    """Create one run of each way to end, retries, a gap with a catch-up run, and a name that was another one before."""
    schedule = Schedule(
        kind=ScheduleKind.CRON, expression="30 2 * * *", timezone="Europe/Berlin", anchor_at=START, jitter_s=0
    )
    told = (
        Notify(event=Event.FAILURE, command=("mail", "-s", "it fails; it's <b>", "root")),
        Notify(event=Event.RECOVERY, command=("logger", "ok")),
    )
    selection = Selection(
        patterns=("*.md", "\udcff*"), excludes=(".git", "build/*"), ignore_case=True, one_file_system=True
    )
    spec = JobSpec(
        name="tonight", root=b"/srv/golden/night", selection=selection,
        schedule=schedule, retries=2, retry_delay_s=300, notify=told, catchup=Catchup.ALL, workers=4,
    )  # fmt: skip
    job = add_job(database, spec, _at(70))
    job = change_job(database, job, replace(spec, name="nightly"), _at(71))
    tree = {b"": dict(PLAIN), b"closed": dict(PLAIN), b"closed/below": dict(PLAIN)}
    walls = {"sequential": 0.4, "pool": 0.2}
    _play(database, job, 73.5, executions=_executions(walls), wall_s=0.7, snapshot=_snapshot(tree))
    partial = {b"": {b"a.md": (101, 1_750_000_000_000_000_000)}}
    _play(
        database, job, 97.5, Status.PARTIAL, executions=_executions(walls, Status.PARTIAL), wall_s=0.7,
        snapshot=_snapshot(partial, (b"closed", b"caf\xe9\n")), message="2 paths could not be read",
    )  # fmt: skip
    _play(
        database, job, 98, cause=Cause.MANUAL, executions=_executions(walls), wall_s=0.7, snapshot=_snapshot(tree),
        differences=[
            Difference(path=b"odd-\xff.md", found_by=("sequential",)),
            Difference(path=b"late.md", found_by=("pool",)),
        ],
        message="the strategies found different files",
    )  # fmt: skip
    gone = "the root '/srv/golden/night' is not there"
    attempts = [
        _play(database, job, hour, status, attempt=attempt, executions=_executions(walls, status, gone), message=gone)
        for attempt, (hour, status) in enumerate([(121.5, Status.FAILED), (121.6, Status.TIMED_OUT)], start=1)
    ]
    told_at = _at(121.7)
    for one, exit_code, message in ((told[0], 0, None), (told[1], -9, None), (told[0], None, "it was not found")):
        record_notification(
            database, attempts[-1],
            Notification(
                event=one.event, command=one.command, started_at=told_at, wall_s=0.125, exit_code=exit_code,
                message=message,
            ),
        )  # fmt: skip
    _play(database, job, 121.8, attempt=3, executions=_executions(walls), wall_s=0.7, snapshot=_snapshot(tree))
    add_not_run(
        database, job, Status.SKIPPED, _at(122), now=_at(122.5),
        message="the last run was still going",
    )  # fmt: skip
    add_not_run(
        database, job, Status.MISSED, _at(130), now=_at(180), message="no daemon ran", missed=3,
    )  # fmt: skip
    _play(
        database, job, 180.5, cause=Cause.CATCHUP, executions=_executions(walls), wall_s=0.7, snapshot=_snapshot(tree)
    )
    _play(database, job, 181, Status.CANCELLED, message="somebody ended it")
    _play(database, job, 182, Status.INTERRUPTED, message="the process that carried it out (12) is gone")
    _play(database, job, 203.5, Status.FAILED, executions=_executions(walls, Status.FAILED, gone), message=gone)
    return job


def _write_odd(database: Database) -> None:
    """Create names of every kind, in the tree and of the job."""
    root = b"/srv/golden/caf\xe9 \x1b[31m\n<b>&\xe2\x80\xae"
    spec = JobSpec(name="[red]odd[/red] <b>&\"'", root=root, strategies=("sequential",))
    job = add_job(database, spec, _at(80))
    tree = {b"": dict(ODD), b"d\xfe\n" * 20: dict(ODD), b"[bold]<i>": dict(PLAIN), b"x" * 255: {LONG: (1, 1)}}
    walls = {"sequential": 0.01}
    _play(database, job, 81, cause=Cause.MANUAL, executions=_executions(walls), wall_s=0.1, snapshot=_snapshot(tree))
    changed = {**tree, b"": {**ODD, b"caf\xe9.md": (99, 1_700_000_000_000_000_001), b"new\t\x80.md": (1, 1)}}
    del changed[b"d\xfe\n" * 20][b"new\nline.md"]
    message = "said: <b>\x1b[31m caf\u00e9 \u202e [bold]"
    _play(
        database, job, 82, Status.PARTIAL, cause=Cause.MANUAL, executions=_executions(walls, Status.PARTIAL, message),
        wall_s=0.1, snapshot=_snapshot(changed, (b"[bold]<i>",)), message=message, environment=ELSEWHERE,
    )  # fmt: skip
    with database.write() as connection:  # a time that 64 bits do not hold, as only a file system can give it
        far = text("UPDATE files SET mtime_exact = '9999999999999999999999' WHERE mtime_ns = 9223372036854775807")
        connection.execute(far)


def _write_incremental(database: Database) -> None:
    """Record names alone, by three strategies."""
    spec = JobSpec(
        name="often", root=b"/srv/golden/often", selection=Selection(track=Track.NAMES), schedule=_every("15m"),
        strategies=("sequential", "pool", "incremental"), full_every_s=43_200, catchup=Catchup.NONE,
    )  # fmt: skip
    job = add_job(database, spec, _at(90))
    walls = {"incremental": 0.002, "pool": 0.03, "sequential": 0.02}
    trees: list[Tree] = [{b"": PLAIN, b"sub": PLAIN}, {b"": PLAIN, b"new": PLAIN}, {b"": PLAIN, b"new": PLAIN}]
    for number, tree in enumerate(trees):
        hour = 91 + number / 4
        _play(database, job, hour, executions=_executions(walls), wall_s=0.1, snapshot=_snapshot(tree, stat=False))


def _write_replaced(database: Database) -> None:
    """Create a removed job and a later one by its name; a removed one with a name that could be chosen once."""
    walls = {"pool": 0.02, "sequential": 0.01}
    for hour, name in ((92.0, "archive"), (94.0, "archive"), (96.0, "esc \x1b[31m\n<b>\u202e..")):
        spec = JobSpec(name=name, root=b"/srv/golden/archive", schedule=_every("12h"))
        job = add_job(database, spec, _at(hour))
        for later in range(2):
            tree = {b"": {**PLAIN, b"at-%d.md" % hour: (later, later)}}
            _play(
                database, job, hour + 0.1 + later, cause=Cause.MANUAL, executions=_executions(walls), wall_s=0.1,
                snapshot=_snapshot(tree), environment=ELSEWHERE,
            )  # fmt: skip
        if hour != 94:
            remove_job(database, get_job(database, name), _at(hour + 1.5))


def _write_quiet_jobs(database: Database) -> None:
    """Create jobs without runs: paused, over, far, in an unknown zone, with names allowed earlier and long ones."""
    once = Schedule(
        kind=ScheduleKind.AT, expression="2099-01-01T00:00:00Z", timezone="Asia/Tokyo", anchor_at=START, jitter_s=0
    )
    schedules = {
        "paused": _every("30m"),
        "once": once,
        "over": replace(once, expression="2026-03-21T00:00:00Z"),
        "lost": replace(once, kind=ScheduleKind.CRON, expression="@hourly", timezone="Mars/Olympus"),
        "twice": replace(once, kind=ScheduleKind.CRON, expression="0,30 2 * mar,oct sun", timezone="Europe/Berlin"),
        "..": None,
        "=1+1": None,
        "long-" + "n" * 150: None,
        "\u4e2d\u6587 caf\u00e9": _every("1d"),
    }
    for number, (name, schedule) in enumerate(schedules.items()):
        root = b"/srv/golden/quiet-%d" % number
        spec = JobSpec(name=name, root=root, schedule=schedule, paused=name == "paused", strategies=("pool",))
        add_job(database, spec, _at(110 + number))


def _write_calibrations(database: Database) -> None:
    """Create two trees, one of them twice, one calibration stopped."""
    roots = ((b"/usr", 4, True), (b"/usr", 5, True), (b"/usr/lib", 4, False), (b"/usr/lib", 2, True))
    for number, (root, rounds, finished) in enumerate(roots):
        at = _at(190 + number)
        selection = Selection(patterns=("*.md",) if number % 2 else ("*.md", "*.txt"))
        begun = begin_calibration(
            database, root, selection, started_at=at, environment=HERE if number % 2 else ELSEWHERE, owner=OWNER
        )
        for round_ in range(1, rounds + 1):
            record_round(database, begun, [_measure(one, round_) for one in enumerate(_CONDITIONS, 1)])
        finish_calibration(database, begun, at + timedelta(minutes=1) if finished else None)


_CONDITIONS = [
    Condition(question=question, strategy=strategy, workers=workers, start_method=method, path=path)
    for question, strategy, workers, method, path in (
        (Question.NOISE, "sequential", 1, None, b""),
        (Question.WORKERS, "sequential", 1, None, b""),
        (Question.WORKERS, "pool", 1, "fork", b""),
        (Question.WORKERS, "pool", 2, "fork", b""),
        (Question.START_METHOD, "pool", 2, "spawn", b""),
        (Question.SIZE, "sequential", 1, None, b"caf\xe9 <b>"),
        (Question.SIZE, "pool", 2, "fork", b"caf\xe9 <b>"),
    )
]


def _measure(placed: tuple[int, Condition], round_: int) -> Measurement:
    position, condition = placed
    small = 0.1 if condition.path else 1.0
    pool = condition.strategy == "pool"
    wall_s = round(small * (0.6 if condition.workers > 1 else 1.0) * _noise(8 * round_ + position), 6)
    return Measurement(
        condition=condition, round=round_, position=position, wall_s=wall_s, startup_s=0.01 if pool else 0.0,
        user_s=round(wall_s / 2, 6), system_s=round(wall_s / 4, 6), max_rss_bytes=20_000_000, cache=Cache.WARM,
        files=int(1_000 * small), directories=int(100 * small), entries=int(5_000 * small),
    )  # fmt: skip
