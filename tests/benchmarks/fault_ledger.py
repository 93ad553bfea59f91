"""What was acknowledged once has to stay true: the ledger of a campaign, and what it finds wrong.

It reads the database by its documented view and asks the command line; nothing of runner's own code takes part.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

from tests.benchmarks.fault_checks import Hang, Wrong, wait_for
from tests.benchmarks.fault_system import command_line, state_of
from tests.benchmarks.fault_trees import JOBS, Watched
from tests.benchmarks.fault_world import World

T = TypeVar("T")

COLUMNS = ("losses", "hangs", "duplicates", "survivors", "leftovers", "exit codes", "defects", "wrong answers")

# How long rows that follow one another may take to be complete, and dead processes to vanish.
_SOON_S = 8.0
_VANISH_S = 2.0
# Within this a job that fires every second or two has a run that nothing has disturbed.
_SETTLE_S = 30.0

_RUNS = (
    "SELECT run, job, cause, status, scheduled_at, started_at, finished_at, wall_s, files, directories, added, "
    "removed, modified, problems, missed, message FROM run_history ORDER BY run"
)
_WAITING = (
    "SELECT jobs.name, firings.due_at FROM firings JOIN jobs ON jobs.id = firings.job_id "
    "WHERE firings.cause = 'schedule' AND firings.attempt = 1"
)
_FRESH = (
    "SELECT run FROM run_history WHERE job = ? AND status IN ('succeeded', 'partial') AND started_at > ? "
    "ORDER BY run DESC LIMIT 1"
)
_GOING = "SELECT id, owner_pid, started_at FROM runs WHERE status = 'running'"
_SECOND = timedelta(seconds=1)


class Ledger:
    """What is known of a world, and compared with it again and again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ended: dict[int, tuple[Any, ...]] = {}
        self._files: dict[tuple[str, int], str] = {}
        self._told: set[str] = set()
        self._logged = 0
        jobs = json.loads(world.must("jobs", "--format", "json"))
        self._anchors = {job["name"]: datetime.fromisoformat(job["created_at"]) for job in jobs}

    def check(self, jobs: Sequence[Watched] = JOBS) -> list[Wrong]:
        """Check everything after these jobs have run undisturbed; return what is wrong for the first time."""
        # What was found before lies at the door of an earlier fault.
        found = {wrong.what: wrong for wrong in self._all(jobs) if wrong.what not in self._told}
        self._told |= found.keys()
        return list(found.values())

    def _all(self, jobs: Sequence[Watched]) -> Iterator[Wrong]:
        world = self._world
        try:
            world.ensure_daemon()
        except Wrong as wrong:
            yield wrong
            world.ensure_daemon()
        yield from self._settled(jobs)
        yield from self._sound()
        yield from self._remembered()
        yield from self._soon(self._accounted)
        yield from self._soon(self._owners)
        yield from self._survivors()
        yield from self._leftovers()
        yield from self._defects()

    def _settled(self, jobs: Sequence[Watched]) -> Iterator[Wrong]:
        """Wait until jobs have run undisturbed, and compare what they found with what is there."""
        since = datetime.now(UTC).replace(tzinfo=None).isoformat(" ")
        for name in (job.name for job in jobs):
            try:
                [[run]] = wait_for(partial(self._world.rows, _FRESH, name, since), f"a run of {name}", _SETTLE_S, 0.03)
                code, listed, _ = self._world.ask("files", name, "-0")
            except Hang as hang:
                said = self._world.logged(self._logged).splitlines()[-3:]
                yield Wrong("hangs", f"{hang.what}, {len(self._ended)} runs ended before; {said}")
                self._world.kill_daemon()  # so that what comes next has a chance
                self._world.ensure_daemon()
                continue
            command = ["find", str(self._world.trees.root(name)), "!", "-type", "d", "-name", "*.md", "-print0"]
            found = subprocess.run(command, capture_output=True, check=True)
            if code != 0 or sorted(listed.split(b"\0")) != sorted(found.stdout.split(b"\0")):
                yield Wrong("wrong answers", f"the files of {name} after run {run} are not those of find")
            with suppress(Hang):
                self._files[name, run] = self._digest(name, run)

    def _digest(self, name: str, run: int) -> str:
        code, out, _ = self._world.ask("files", name, "--run", str(run), "--format", "jsonl")
        return f"{code} {hashlib.sha256(out).hexdigest()}"

    def check_every_list(self) -> Iterator[Wrong]:
        """Compare every list of files that was ever recorded with the present answer."""
        for name, run in self._files:
            yield from self._still(name, run)

    def _still(self, name: str, run: int) -> Iterator[Wrong]:
        if self._files[name, run] != self._digest(name, run):
            yield Wrong("losses", f"the files of {name} in run {run} are others than before")

    def _sound(self) -> Iterator[Wrong]:
        told = self._world.rows("PRAGMA integrity_check")
        if told != [("ok",)]:
            yield Wrong("wrong answers", f"integrity_check: {told[:3]}")
        code, out, _ = self._world.ask("db", "check")
        if code != 0:
            yield Wrong("wrong answers", f"db check: {code} {out[:300]!r}")

    def _remembered(self) -> Iterator[Wrong]:
        """Compare what has ended with how it had ended, and one old list of files with what it was."""
        now = {row[0]: row for row in self._world.rows(_RUNS)}
        for run, row in self._ended.items():
            if run not in now:
                yield Wrong("losses", f"run {run}, which had ended, is gone")
            elif now[run] != row:
                yield Wrong("losses", f"run {run} had ended as {row}, and now as {now[run]}")
        for told in self._world.printed:
            row = now.get(told["run"], (None,) * 16)
            if (told["job"], told["status"], told["files"]) != (row[1], row[3], row[8]):
                yield Wrong("losses", f"run {told['run']} was printed as {told['status']}, and is {row}")
        self._world.printed.clear()
        self._ended.update({run: row for run, row in now.items() if row[3] != "running"})
        yield from self._sensible(list(now.values()))
        if self._files:
            yield from self._still(*self._world.random.choice(list(self._files)))

    def _sensible(self, rows: list[tuple[Any, ...]]) -> Iterator[Wrong]:
        """Check that failed runs have a message, and that runs were carried out one at a time."""
        for row in rows:
            if row[3] not in ("running", "succeeded", "partial") and not row[15]:
                yield Wrong("losses", f"run {row[0]} does not say why it is {row[3]}")
        saved = sorted((row[5], row[6], row[0]) for row in rows if row[8] is not None)
        for (_, end, first), (start, _, second) in pairwise(saved):
            if start < end:
                yield Wrong("duplicates", f"run {second} began before run {first} had ended")

    def _soon(self, look: Callable[[], Iterator[Wrong]]) -> list[Wrong]:
        """Return what is still wrong after a while: rows are written one after another."""
        deadline = time.monotonic() + _SOON_S
        while (wrong := [one for one in look() if one.what not in self._told]) and time.monotonic() < deadline:
            time.sleep(0.1)
        return wrong

    def _accounted(self) -> Iterator[Wrong]:
        """Check that every fire time has exactly one record."""
        records: dict[str, dict[int, list[str]]] = {job.name: {} for job in JOBS}
        every = {job.name: job.every_s * _SECOND for job in JOBS}
        waiting: set[tuple[str, int]] = set()
        for name, due_at in self._world.rows(_WAITING):  # first, since a row moves from there to the runs
            since = datetime.fromisoformat(due_at).replace(tzinfo=UTC) - self._anchors[name]
            waiting.add((name, since // every[name]))
        for run, name, cause, status, scheduled_at, *_, missed, message in self._world.rows(_RUNS):
            if cause != "schedule":
                continue
            since = datetime.fromisoformat(scheduled_at).replace(tzinfo=UTC) - self._anchors[name]
            number, rest = divmod(since, every[name])
            if rest:
                yield Wrong("duplicates", f"{name} has no fire time at {scheduled_at}")
            for covered in range(number, number + (missed if status == "missed" else 1)):
                records[name].setdefault(covered, []).append(f"run {run}, {status}: {message}")
        for name, numbers in records.items():
            for number in range(1, max(numbers, default=0) + 1):
                at = self._anchors[name] + number * every[name]
                found = numbers.get(number, [])
                if not found and (name, number) not in waiting:
                    yield Wrong("losses", f"{name} has no record of its fire time {at}")
                elif len(found) > 1:
                    yield Wrong("duplicates", f"{name} has several of its fire time {at}: {found}")

    def _owners(self) -> Iterator[Wrong]:
        """Check that the process of every running run is alive."""
        owned = self._world.owned()
        for run, pid, _ in self._world.rows(_GOING):
            if pid not in owned:
                yield Wrong("losses", f"run {run} is running, but its process {pid} is not there")

    def _survivors(self) -> Iterator[Wrong]:
        """Find processes that nobody owns any more and that do not vanish."""

        def strangers() -> set[tuple[int, str]]:
            marked = self._world.marked()  # before their owners are, or one that starts meanwhile would be nobody's
            owned = self._world.owned()
            return {one for one in marked if one[0] not in owned}

        for pid, began in _staying(strangers, _VANISH_S):
            command = command_line(pid).replace(b"\0", b" ")[-80:]
            what = f"process {pid}, started at tick {began}, is nobody's: {state_of(pid)} {command!r}"
            yield Wrong("survivors", what)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # so that what comes next has a chance

    def _leftovers(self) -> Iterator[Wrong]:
        """Find files that nobody needs any more and that the next start of runner does not remove."""
        world = self._world
        if _staying(world.leftovers, _VANISH_S):
            world.heard(world.run_by_hand("other"))
        for path in _staying(world.leftovers, _VANISH_S):
            yield Wrong("leftovers", str(path))
            with suppress(OSError):  # so that what comes next has a chance
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _defects(self) -> Iterator[Wrong]:
        """Find tracebacks in what was logged since the last check, and those of commands."""
        logged = self._world.logged(self._logged)
        self._logged = self._world.log.stat().st_size
        if defect := re.search("Traceback|a defect in runner", logged):
            start = max(0, defect.start() - 300)
            yield Wrong("defects", f"the daemon has logged {logged[start : start + 3_000]}")
        for path in self._world.defects():
            yield Wrong("defects", path.read_text(errors="replace"))
            path.unlink()


def _staying(look: Callable[[], set[T]], within_s: float) -> set[T]:
    """Return what is there at every look, until it is nothing or the time is up."""
    staying = look()
    deadline = time.monotonic() + within_s
    while staying and time.monotonic() < deadline:
        time.sleep(0.02)
        staying &= look()
    return staying
