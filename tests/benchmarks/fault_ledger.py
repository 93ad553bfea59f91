"""What was acknowledged once has to stay true: the ledger of a campaign, and what it finds wrong.

It reads the database by its documented view and asks the command line; nothing of runner's own code takes part.
"""

import hashlib
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

from tests.benchmarks.fault_world import JOBS, Hang, Watched, World, wait_for

COLUMNS = ("losses", "hangs", "duplicates", "survivors", "wrong answers")

# How long rows that follow one another may take to be complete, and dead processes to vanish.
_SOON_S = 8.0
_VANISH_S = 2.0
# Within this a job that fires every second or two has a run that nothing has disturbed.
_SETTLE_S = 30.0

_RUNS = (
    "SELECT run, job, cause, status, scheduled_at, started_at, finished_at, wall_s, files, directories, added, "
    "removed, modified, problems, missed, message FROM run_history ORDER BY run"
)
_FRESH = "SELECT max(run) FROM run_history WHERE job = ? AND status IN ('succeeded', 'partial') AND started_at > ?"
_GOING = "SELECT id, owner_pid, started_at FROM runs WHERE status = 'running'"
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wrong:
    """Something that must not be.

    Attributes:
        column: What kind of thing, one of the table's columns.
        what: In one line.
    """

    column: str
    what: str


class Ledger:
    """What is known of a world, and compared with it again and again.

    Args:
        world: Whose history it is.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._ended: dict[int, tuple[Any, ...]] = {}
        self._files: dict[tuple[str, int], str] = {}
        self._told: set[str] = set()
        jobs = json.loads(world.must("jobs", "--format", "json"))
        self._anchors = {job["name"]: datetime.fromisoformat(job["created_at"]) for job in jobs}

    def check(self, jobs: Sequence[Watched] = JOBS) -> list[Wrong]:
        """Look whether all is as it has to be; gives what is found wrong for the first time.

        Args:
            jobs: Which of them have to run undisturbed before.
        """
        found = []
        for wrong in self._all(jobs):
            # What was found before lies at the door of an earlier fault.
            if wrong.what not in self._told:
                self._told.add(wrong.what)
                found.append(wrong)
        return found

    def _all(self, jobs: Sequence[Watched]) -> Iterator[Wrong]:
        world = self._world
        try:
            world.ensure_daemon()
        except Hang as hang:
            world.kill_daemon()
            yield Wrong(column="hangs", what=f"{hang} {time.monotonic():.0f}")
            world.ensure_daemon()
        yield from self._settled(jobs)
        yield from self._sound()
        yield from self._remembered()
        yield from self._soon(self._accounted)
        yield from self._soon(self._owners)
        yield from self._survivors()

    def _settled(self, jobs: Sequence[Watched]) -> Iterator[Wrong]:
        """Wait until jobs have run undisturbed, and compare what they found with what is there."""
        since = datetime.now(UTC).replace(tzinfo=None).isoformat(" ")
        for name in (job.name for job in jobs):
            try:
                run = wait_for(partial(self._fresh, name, since), f"a run of {name}", _SETTLE_S, 0.03)
                code, listed = self._world.ask("files", name, "-0")
            except Hang as hang:
                said = self._world.log.read_text(errors="replace").splitlines()[-3:]
                yield Wrong(column="hangs", what=f"{hang}, {len(self._ended)} runs ended before; {said}")
                self._world.kill_daemon()  # so that what comes next has a chance
                self._world.ensure_daemon()
                continue
            found = subprocess.run(
                ["find", self._world.root(name), "!", "-type", "d", "-name", "*.md", "-print0"],
                capture_output=True,
                check=True,
            )
            if code != 0 or sorted(listed.split(b"\0")) != sorted(found.stdout.split(b"\0")):
                yield Wrong(column="wrong answers", what=f"the files of {name} after run {run} are not those of find")
            with suppress(Hang):
                self._files[name, run] = self._digest(name, run)

    def _fresh(self, name: str, since: str) -> int | None:
        """Give the last run of a job that began since an instant and ended well."""
        found: int | None = self._world.rows(_FRESH, name, since)[0][0]
        return found

    def _digest(self, name: str, run: int) -> str:
        code, out = self._world.ask("files", name, "--run", str(run), "--format", "jsonl")
        return f"{code} {hashlib.sha256(out).hexdigest()}"

    def check_every_list(self) -> Iterator[Wrong]:
        """Compare every list of files that was ever recorded with what is given now."""
        for name, run in self._files:
            yield from self._still(name, run)

    def _still(self, name: str, run: int) -> Iterator[Wrong]:
        if self._files[name, run] != self._digest(name, run):
            yield Wrong(column="losses", what=f"the files of {name} in run {run} are others than before")

    def _sound(self) -> Iterator[Wrong]:
        told = self._world.rows("PRAGMA integrity_check")
        if told != [("ok",)]:
            yield Wrong(column="wrong answers", what=f"integrity_check: {told[:3]}")
        code, out = self._world.ask("db", "check")
        if code != 0:
            yield Wrong(column="wrong answers", what=f"db check: {code} {out[:300]!r}")

    def _remembered(self) -> Iterator[Wrong]:
        """Compare what has ended with how it had ended, and one old list of files with what it was."""
        now = {row[0]: row for row in self._world.rows(_RUNS)}
        for run, row in self._ended.items():
            if run not in now:
                yield Wrong(column="losses", what=f"run {run}, which had ended, is gone")
            elif now[run] != row:
                yield Wrong(column="losses", what=f"run {run} had ended as {row}, and now as {now[run]}")
        for told in self._world.printed:
            row = now.get(told["run"], (None,) * 16)
            if (told["job"], told["status"], told["files"]) != (row[1], row[3], row[8]):
                yield Wrong(column="losses", what=f"run {told['run']} was printed as {told['status']}, and is {row}")
        self._world.printed.clear()
        self._ended.update({run: row for run, row in now.items() if row[3] != "running"})
        yield from self._sensible(list(now.values()))
        if self._files:
            yield from self._still(*self._world.random.choice(list(self._files)))

    def _sensible(self, rows: list[tuple[Any, ...]]) -> Iterator[Wrong]:
        """Look whether rows say why nothing came of a run, and whether runs were carried out one at a time."""
        for row in rows:
            if row[3] not in ("running", "succeeded", "partial") and not row[15]:
                yield Wrong(column="losses", what=f"run {row[0]} does not say why it is {row[3]}")
        saved = sorted((row[5], row[6], row[0]) for row in rows if row[8] is not None)
        for (_, end, first), (start, _, second) in pairwise(saved):
            if start < end:
                yield Wrong(column="duplicates", what=f"run {second} began before run {first} had ended")

    def _soon(self, look: Any) -> Iterator[Wrong]:
        """Give what a look still finds wrong after a while: rows are written one after another."""
        deadline = time.monotonic() + _SOON_S
        while wrong := [one for one in look() if one.what not in self._told]:
            if time.monotonic() > deadline:
                yield from wrong
                return
            time.sleep(0.1)

    def _accounted(self) -> Iterator[Wrong]:
        """Look whether every fire time has exactly one record."""
        records: dict[str, dict[int, list[str]]] = {job.name: {} for job in JOBS}
        every = {job.name: job.every_s * _SECOND for job in JOBS}
        for run, name, cause, status, scheduled_at, *_, missed, message in self._world.rows(_RUNS):
            if cause != "schedule":
                continue
            since = datetime.fromisoformat(scheduled_at).replace(tzinfo=UTC) - self._anchors[name]
            number, rest = divmod(since, every[name])
            if rest:
                yield Wrong(column="duplicates", what=f"{name} has no fire time at {scheduled_at}")
            for covered in range(number, number + (missed if status == "missed" else 1)):
                records[name].setdefault(covered, []).append(f"run {run}, {status}: {message}")
        for name, numbers in records.items():
            for number in range(1, max(numbers, default=0) + 1):
                at = self._anchors[name] + number * every[name]
                match numbers.get(number, []):
                    case []:
                        yield Wrong(column="losses", what=f"{name} has no record of its fire time {at}")
                    case [_]:
                        pass
                    case several:
                        yield Wrong(column="duplicates", what=f"{name} has several of its fire time {at}: {several}")

    def _owners(self) -> Iterator[Wrong]:
        """Look whether every run that is going on has somebody who carries it out."""
        owned = self._world.owned()
        for run, pid, _ in self._world.rows(_GOING):
            if pid not in owned:
                yield Wrong(column="losses", what=f"run {run} is running, but its process {pid} is not there")

    def _survivors(self) -> Iterator[Wrong]:
        """Look for processes that nobody owns any more and that do not vanish."""
        strangers: set[tuple[int, str]] | None = None
        deadline = time.monotonic() + _VANISH_S
        while strangers is None or strangers:
            marked = self._world.marked()
            owned = self._world.owned()
            now = {one for one in marked if one[0] not in owned}
            strangers = now if strangers is None else strangers & now
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        for pid, began in strangers:
            yield Wrong(column="survivors", what=f"process {pid}, started at tick {began}, is nobody's")
