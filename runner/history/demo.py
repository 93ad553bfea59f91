"""A year of jobs that never ran, written from a seed: for the demo, for screenshots and for tests of the pages."""

import errno
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy import Connection, insert

from runner.history import daemons, jobs, rows, tables
from runner.history.calibrations import begin_calibration, finish_calibration, record_round
from runner.history.database import Database
from runner.history.findings import digest_path
from runner.model.calibration import Condition, Measurement, Question
from runner.model.jobs import Event, Job, JobSpec, Notify, Schedule, ScheduleKind, Selection
from runner.model.runs import Cache, Environment, Owner, Status
from runner.model.units import format_count

_YEAR, _DAY, _HOUR = timedelta(days=365), timedelta(days=1), timedelta(hours=1)
# Seconds of an execution: at least, and for each file.
_COSTS = {"sequential": (0.006, 95e-6), "pool": (0.034, 57e-6), "incremental": (0.009, 7e-6)}
_OWNER = Owner(host="atlas", boot="demo", pid=4711, started_s=0.0)
_MAIL = ("mail", "-s", "runner", "ada@example.org")
_TOPICS = ("", "ideas", "meetings", "people", "projects/atlas", "projects/runner", "reading", "recipes", "travel")
_WORDS = ("agenda", "draft", "idea", "letter", "list", "minutes", "note", "plan", "review", "summary")
# Parts of the tree of a calibration, and their files.
_SUBTREES = {b"": 3600, b"projects": 900, b"reading": 240, b"people": 60}
# Parts of the year: when Python was upgraded, and when a directory of the documents could not be read.
_UPGRADED, _UNREADABLE = 0.35, (0.45, 0.5)
_VANISHED = "the root '/mnt/photos' does not exist; create it, mount it, or name another directory"
_TIMED_OUT = "ended after its time limit of 10800 s; raise --timeout, or scan a smaller tree"

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Story:
    """A job and its year; parts of the year are numbers from 0 to 1."""

    spec: JobSpec
    every: timedelta
    at: timedelta  # the first fire time after midnight
    files: tuple[int, float, float]  # at first, and how many a run finds added and changed in the mean
    step: tuple[float, float] = (1.0, 1.0)  # when sequential becomes slower, and by which factor
    drift: float = 0.0  # the part by which it becomes slower in the year
    end: float = 2.0  # when its root vanishes, or it is paused


def write_demo(database: Database, now: datetime, seed: int = 0) -> None:
    """Write five jobs and their runs of the year before *now* into an empty SQLite database; same seed, same rows."""
    random = Random(seed)  # noqa: S311  chance, not secrets
    start = now.replace(hour=0, minute=0, second=0, microsecond=0) - _YEAR
    stories = _stories(start)
    kept = [jobs.add_job(database, story.spec, start) for story in stories]
    daemons.record_daemon(database, _OWNER, now - 9 * _DAY)
    daemons.record_heartbeat(database, _OWNER, now, stopped=True)
    _add_calibration(database, now - 40 * _DAY, random)
    written: dict[str, list[Row]] = defaultdict(list)
    with database.write() as connection:
        writers = [_Writer(connection, written, *one, start, random) for one in zip(kept, stories, strict=True)]
        for at, place, due_at, missed in _list_firings(stories, start, now, random):
            writers[place].fire(at, due_at, missed)
        for name in ("runs", "executions", "notifications", "problems", "folders", "files"):
            connection.execute(insert(tables.metadata.tables[name]), written[name])


def _environment(python: str) -> Environment:
    shared: Row = {"host": "atlas", "system": "Linux 6.12.48", "machine": "x86_64", "cpus": 2, "workers": 2}
    shared |= {"start_method": "fork", "filesystem": "ext4", "runner_version": "0.1.0"}
    return Environment(python=f"CPython {python}", **shared)


def _add_calibration(database: Database, at: datetime, random: Random) -> None:
    """Add a calibration: two workers are the fastest, of a large tree, and of the start methods fork is."""

    def condition(question: Question, workers: int, path: bytes = b"", method: str = "fork") -> Condition:
        parts: Row = {"workers": workers, "start_method": method} if workers else {"workers": 1, "start_method": None}
        return Condition(question=question, strategy="pool" if workers else "sequential", path=path, **parts)

    conditions = [condition(Question.WORKERS, workers) for workers in range(5)] + [condition(Question.NOISE, 0)]
    conditions += [condition(Question.START_METHOD, 2, method=method) for method in ("forkserver", "spawn")]
    conditions += [condition(Question.SIZE, workers, path) for path in list(_SUBTREES)[1:] for workers in (0, 2)]
    measured = []
    for number in range(1, 9):
        order = enumerate(random.sample(conditions, len(conditions)), start=1)
        measured += [_measure(one, random, round=number, position=place) for place, one in order]
    environment = _environment("3.14.2")
    number = begin_calibration(
        database, b"/srv/docs", Selection(), started_at=at, environment=environment, owner=_OWNER
    )
    record_round(database, number, measured)
    finish_calibration(database, number, at + timedelta(minutes=2))


def _measure(condition: Condition, random: Random, **place: int) -> Measurement:
    files, workers = _SUBTREES[condition.path], condition.workers if condition.start_method else 0
    startup_s = {None: 0.0, "fork": 0.014, "forkserver": 0.07, "spawn": 0.12}[condition.start_method] * workers
    wall_s = (0.006 + 95e-6 * files * (1 if workers < 2 else 0.54) + startup_s) * random.lognormvariate(0, 0.04)
    counts: Row = {"files": files, "directories": 1 + files // 40, "entries": 3 * files, "max_rss_bytes": 19_000_000}
    times: Row = {"wall_s": wall_s, "startup_s": startup_s, "user_s": wall_s * 0.7, "system_s": wall_s * 0.5}
    return Measurement(condition=condition, cache=Cache.WARM, **times, **counts, **place)


def _stories(start: datetime) -> list[_Story]:
    def spec(name: str, root: str, expression: str, pattern: str = "*.md", **options: Any) -> JobSpec:
        kind = ScheduleKind.CRON if " " in expression else ScheduleKind.EVERY
        schedule = Schedule(kind=kind, expression=expression, timezone="UTC", interval_origin=start)
        selection = Selection(patterns=(pattern,))
        return JobSpec(name=name, root=root.encode(), selection=selection, schedule=schedule, **options)

    careful: Row = {"retries": 1, "notify": (Notify(Event.FAILURE, _MAIL), Notify(Event.RECOVERY, _MAIL))}
    fast: Row = {"strategies": ("sequential", "incremental"), "timeout_s": 10_800}
    notes = spec("notes", "/home/ada/notes", "1h", **careful)
    docs = spec("docs", "/srv/docs", "30 2 * * *")
    mail = spec("mail", "/srv/mail", "2h", "*.eml", **fast)
    photos = spec("photos", "/mnt/photos", "15 4 * * *", "*.jpg", **careful)
    drafts = spec("drafts", "/home/ada/drafts", "1d", strategies=("sequential",), paused=True)
    return [
        _Story(spec=notes, every=_HOUR, at=_HOUR, files=(2100, 0.3, 1.2), step=(0.7, 1.3)),
        _Story(spec=docs, every=_DAY, at=2.5 * _HOUR, files=(3200, 3, 8), drift=0.4),
        _Story(spec=mail, every=2 * _HOUR, at=2 * _HOUR, files=(5000, 1.6, 0.1)),
        _Story(spec=photos, every=_DAY, at=4.25 * _HOUR, files=(2400, 6, 0.2), end=0.97),
        _Story(spec=drafts, every=_DAY, at=_DAY, files=(60, 0.4, 0.8), end=0.9),
    ]


def _list_firings(
    stories: Sequence[_Story], start: datetime, now: datetime, random: Random
) -> list[tuple[datetime, int, datetime, int]]:
    """List instants in order, each with the job, the fire time, and how many were missed from it on."""
    days = random.sample(range(5, 360), 14)
    gaps = [(start + day * _DAY, start + (day + random.uniform(0.1, 1.5)) * _DAY) for day in days]
    gaps.append((start + 200.4 * _DAY, start + 208.7 * _DAY))
    firings = []
    for place, story in enumerate(stories):
        missed: dict[datetime, list[datetime]] = {}
        due_at, until = start + story.at, min(now, start + story.end * _YEAR) if story.spec.paused else now
        while due_at < until:
            end = max((end for begin, end in gaps if begin <= due_at < end), default=None)
            if end is None:
                late_s = random.random() / 10 + (place / 2 if due_at.minute == 0 else 0)
                firings.append((due_at + timedelta(seconds=late_s), place, due_at, 0))
            else:
                missed.setdefault(end + timedelta(seconds=2 * place), []).append(due_at)
            due_at += story.every
        firings += [(end, place, times[0], len(times)) for end, times in missed.items() if end < now]
    return sorted(firings)


class _Writer:
    """The runs of a job, and its files as intervals, as rows by table."""

    def __init__(
        self,
        connection: Connection,
        written: dict[str, list[Row]],
        job: Job,
        story: _Story,
        start: datetime,
        random: Random,
    ) -> None:
        self._rows, self._job_id, self._story, self._start, self._random = written, job.job_id, story, start, random
        self._selection_id = rows.selection_id(connection, story.spec.selection)
        self._environment_ids = [rows.environment_id(connection, _environment(one)) for one in ("3.13.9", "3.14.2")]
        self._suffix = story.spec.selection.patterns[0][1:]
        self._files: list[Row] = []
        self._folder_ids: dict[str, int] = {}
        self._problem: Row | None = None
        self._busy_until, self._failing = start, False

    def fire(self, at: datetime, due_at: datetime, missed: int) -> None:
        """Record a firing: missed fire times and their catch-up run, a skipped one, or a run and its retry."""
        part, spec, chance = (at - self._start) / _YEAR, self._story.spec, self._random.random()
        if at < self._busy_until:
            self._add_run(Status.SKIPPED, due_at, finished_at=at, message="the previous run was still running")
            return
        about: Row = {"started_at": at, "lateness_s": (at - due_at).total_seconds()}
        if missed:
            message = f"{format_count(missed, 'fire time')} passed while no daemon ran"
            self._add_run(Status.MISSED, due_at, finished_at=at, missed=missed, message=message)
            about |= {"cause": "catchup", "lateness_s": None}
        if part > self._story.end:
            self._fail(Status.FAILED, due_at, _VANISHED, 0.01, about)
        elif spec.retries and chance < 0.002:
            self._fail(Status.FAILED, due_at, "the trial process was killed by SIGKILL", 0.2, about)
            self._succeed(due_at, part, {**about, "started_at": at + _HOUR / 60, "attempt": 2, "lateness_s": None})
        elif spec.timeout_s and chance < 0.001:
            self._fail(Status.TIMED_OUT, due_at, _TIMED_OUT, spec.timeout_s, about)
            self._busy_until = at + timedelta(seconds=spec.timeout_s)
        else:
            self._succeed(due_at, part, about)

    def _add_run(self, status: Status, due_at: datetime, **more: Any) -> Row:
        run = dict.fromkeys(tables.runs.c.keys()) | {"cause": "schedule", "attempt": 1}
        run |= dict.fromkeys(("problems", "differences", "missed"), 0)
        run |= {"id": len(self._rows["runs"]) + 1, "job_id": self._job_id, "selection_id": self._selection_id}
        run |= {"status": status.value, "scheduled_at": due_at, **more}
        if "started_at" in more:
            is_upgraded = (more["started_at"] - self._start) / _YEAR > _UPGRADED
            run["environment_id"] = self._environment_ids[is_upgraded]
        self._rows["runs"].append(run)
        return run

    def _fail(self, status: Status, due_at: datetime, message: str, wall_s: float, about: Row) -> None:
        ended = {"finished_at": about["started_at"] + timedelta(seconds=wall_s), "wall_s": wall_s, "message": message}
        run = self._add_run(status, due_at, **about, **ended)
        if message is not _VANISHED:
            self._add_execution(run, 1, "sequential", {"message": message})
        if not self._failing:
            self._notify(run, Event.FAILURE)
        self._failing = True

    def _succeed(self, due_at: datetime, part: float, about: Row) -> None:
        run = self._add_run(Status.SUCCEEDED, due_at, **about)
        self._change_files(run)
        self._read_private(run, part)
        strategies, run["wall_s"] = self._story.spec.strategies, 0.02
        for position, strategy in enumerate(strategies[:: self._random.choice((1, -1))], start=1):
            run["wall_s"] += self._scan(run, position, strategy, part)
        run["finished_at"] = run["started_at"] + timedelta(seconds=run["wall_s"])
        if self._failing:
            self._notify(run, Event.RECOVERY)
        self._failing = False

    def _notify(self, run: Row, event: Event) -> None:
        if self._story.spec.notify:
            failed = self._random.random() < 0.2
            row: Row = {"run_id": run["id"], "event": event.value, "command": json.dumps(_MAIL), "wall_s": 0.04}
            row |= {"exit_code": int(failed), "message": "mail: connection refused" if failed else None}
            self._rows["notifications"].append({**row, "started_at": run["finished_at"]})

    def _read_private(self, run: Row, part: float) -> None:
        """Record the weeks in which a directory of the documents could not be read."""
        begin, end = _UNREADABLE
        if self._story.drift and begin < part < end:
            run |= {"status": Status.PARTIAL.value, "problems": 1}
            if self._problem is None:
                text = os.strerror(errno.EACCES)
                self._problem = {"job_id": self._job_id, "path": b"private", "errno": errno.EACCES, "text": text}
                self._problem |= {"first_run_id": run["id"], "gone_run_id": None}
                self._rows["problems"].append(self._problem)
        elif self._problem and self._problem["gone_run_id"] is None:
            self._problem["gone_run_id"] = run["id"]

    def _scan(self, run: Row, position: int, strategy: str, part: float) -> float:
        """Add an execution and return its seconds."""
        least_s, each_s = _COSTS[strategy]
        is_cold = self._random.random() < 0.01
        wall_s: float = (
            (least_s + each_s * run["files"]) * self._random.lognormvariate(0, 0.06) * (2.5 if is_cold else 1)
        )
        if strategy != "incremental":
            since, factor = self._story.step
            wall_s *= (factor if part > since else 1) * (1 + self._story.drift * part)
        cpu_s = wall_s * (1.85 if strategy == "pool" else 0.95)
        measured: Row = {"wall_s": wall_s, "user_s": cpu_s * 0.6, "system_s": cpu_s * 0.4}
        measured |= {"startup_s": 0.03 if strategy == "pool" else 0.0, "cache": "cold" if is_cold else "warm"}
        counts = {"files": run["files"], "directories": run["directories"], "entries": 3 * run["files"]}
        self._add_execution(run, position, strategy, measured | counts)
        return wall_s

    def _add_execution(self, run: Row, position: int, strategy: str, more: Row) -> None:
        row = dict.fromkeys(tables.executions.c.keys()) | {"run_id": run["id"], "position": position}
        row |= {"strategy": strategy, "status": run["status"], "workers": 1, "max_rss_bytes": 18_000_000}
        row |= {"workers": 2, "start_method": "fork"} if strategy == "pool" else {}
        self._rows["executions"].append(row | more)

    def _change_files(self, run: Row) -> None:
        """Add, change and remove files, most of them during working hours."""
        n_first, *means = self._story.files
        at = run["started_at"]
        busy = 1 if at.weekday() < 5 and (8 <= at.hour < 18 or self._story.every >= _DAY) else 0.2
        n_added, n_changed = (int(self._random.expovariate(1 / (mean * busy))) for mean in means)
        removed = [self._end(run) for _ in range(n_added // 3)] if self._files else []
        changed = [self._end(run) for _ in range(n_changed)] if self._files else []
        for old in changed:
            size_bytes = max(0, old["size_bytes"] + self._random.randrange(-200, 400))
            self._begin(run, old["folder_id"], old["name"], size_bytes)
        n_added = n_added if self._files else n_first
        for _ in range(n_added):
            name = f"{self._random.choice(_WORDS)}-{len(self._rows['files']):05}{self._suffix}"
            self._begin(run, self._choose_folder(at), name.encode(), int(self._random.lognormvariate(8, 1)))
        run |= {"files": len(self._files), "directories": len(self._folder_ids) + 1}
        run |= {"added": n_added, "removed": len(removed), "modified": len(changed)}

    def _choose_folder(self, at: datetime) -> int:
        """Return the number of a topic's directory, or of its month."""
        path = self._random.choice(_TOPICS)
        if self._random.random() < 0.4:
            path = f"{path}/{at:%Y-%m}".lstrip("/")
        if path not in self._folder_ids:
            self._folder_ids[path] = len(self._rows["folders"]) + 1
            digest = digest_path(path.encode())
            row = {"id": self._folder_ids[path], "job_id": self._job_id, "path": path.encode(), "path_digest": digest}
            self._rows["folders"].append({**row, "findings_digest": digest})
        return self._folder_ids[path]

    def _begin(self, run: Row, folder_id: int, name: bytes, size_bytes: int) -> None:
        mtime_ns = int(run["started_at"].timestamp()) * 10**9 - self._random.randrange(10**12)
        file = {"folder_id": folder_id, "name": name, "first_run_id": run["id"], "gone_run_id": None}
        file |= {"job_id": self._job_id, "size_bytes": size_bytes, "mtime_ns": mtime_ns, "mtime_exact": None}
        self._rows["files"].append(file)
        self._files.append(file)

    def _end(self, run: Row) -> Row:
        """End the interval of a file drawn at random."""
        place = self._random.randrange(len(self._files))
        self._files[place], self._files[-1] = self._files[-1], self._files[place]
        file = self._files.pop()
        file["gone_run_id"] = run["id"]
        return file
