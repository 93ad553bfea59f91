"""Saving large runs: seconds, memory, and how late the runs of another job begin meanwhile.

The tree has a hundred files in each directory and exists only as a snapshot. It is saved as the first run, unchanged,
and with 0.1 % of its files changed in 9.5 % of its directories; all seconds contain the digests of the snapshot. During
the first save a daemon fires another job every second, and a thread of the saving process begins and ends runs.
"""

import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from runner.history.database import Database, locate
from runner.history.jobs import add_job
from runner.history.recording import RunOutcome, begin_run, finish_run
from runner.history.runs import list_runs
from runner.history.upgrade import open_database
from runner.measure.environment import describe_environment, describe_process
from runner.model.jobs import Job, JobSpec
from runner.model.runs import Status
from runner.scan.snapshot import Snapshot
from runner.schedules.parse import parse_schedule
from tests.benchmarks.progress import make_parser, write_head, write_row

_IN_DIRECTORY = 100
_NAMES = b"\0".join(b"document-%02d.md" % number for number in range(_IN_DIRECTORY))
_CHANGED = 0.095
_EVERY_S = 1.0


class Fabricated(Snapshot):
    """A snapshot whose findings are computed; in some directories one file has another size."""

    def __init__(self, directories: int, step: int = 0) -> None:
        files = directories * _IN_DIRECTORY
        super().__init__(os.open(os.devnull, os.O_RDONLY), counts=(directories, files, files))
        self._step = step

    def findings(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Yield them directory by directory."""
        numbers = array("q", (10**18 + number for number in range(2 * _IN_DIRECTORY)))
        for number in range(self.directories):
            numbers[0] = number + (1 if self._step and not number % self._step else 0)
            yield b"archive/%03d/project-%04d" % (number // 1000, number), _NAMES, numbers.tobytes()


def main() -> None:
    """Save, measure and print a row for each size."""
    given = make_parser(__doc__, files=[int], database=str).parse_args()
    columns = ("first save", "unchanged", "0.1 % changed", "peak memory", "late in a thread", "in a daemon", "skipped")
    write_head("files", *columns, first="--:")
    for files in given.files or [1_000_000]:
        # In a process of its own, whose memory is measured.
        saving = multiprocessing.get_context("spawn").Process(target=_measure, args=(files, given.database))
        saving.start()
        saving.join()


def _measure(files: int, address: str | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        address = address or str(Path(scratch, "runner.db"))
        directories = files // _IN_DIRECTORY
        with closing(open_database(locate(address))) as database:
            job, other = _add_job(database, "large"), _add_job(database, "other")
            with _firing_daemon(database, Path(scratch), address) as small, _beginning(database, other) as late_s:
                first_s = _save(database, job, Fabricated(directories))
            fired = [run.lateness_s for run in list_runs(database, job=small) if run.lateness_s is not None]
            skipped = len(list_runs(database, job=small, statuses=[Status.SKIPPED]))
            same_s = _save(database, job, Fabricated(directories))
            changed_s = _save(database, job, Fabricated(directories, round(1 / _CHANGED)))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = [f"{taken_s:.2f} s" for taken_s in (first_s, same_s, changed_s)]
    late = [f"{max(each):.2f} s of {len(each)}" for each in (late_s, fired)]
    write_row(f"{files:,}", *seconds, f"{peak_mb:.0f} MB", *late, skipped)


def _add_job(database: Database, name: str) -> Job:
    return add_job(database, JobSpec(name=f"{name}-{time.time_ns()}", root=b"/srv"), datetime.now(UTC))


@contextmanager
def _firing_daemon(database: Database, scratch: Path, address: str) -> Iterator[Job]:
    """Run a daemon that fires a job on an empty directory every second."""
    now = datetime.now(UTC)
    (scratch / "tree").mkdir()
    (scratch / "settings.toml").write_text("runs_at_once = 64")
    schedule = parse_schedule(every="1s", timezone="UTC", now=now)
    spec = JobSpec(name=f"small-{time.time_ns()}", root=os.fsencode(scratch / "tree"), schedule=schedule)
    job = add_job(database, spec, now)
    environment = {**os.environ, "RUNNER_DB": address, "RUNNER_SETTINGS": str(scratch / "settings.toml")}
    command = [sys.executable, "-m", "runner", "daemon"]
    daemon = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        while not list_runs(database, job=job, statuses=[Status.SUCCEEDED]):
            time.sleep(0.1)
        yield job
    finally:
        daemon.terminate()
        daemon.wait()


@contextmanager
def _beginning(database: Database, job: Job) -> Iterator[list[float]]:
    """Begin and end runs of a job on a thread four times a second; yields how long each takes."""
    taken_s: list[float] = []
    stopped = threading.Event()

    def begin_and_end() -> None:
        while not stopped.wait(0.25):
            began_s = time.perf_counter()
            run_id = _begin(database, job)
            taken_s.append(time.perf_counter() - began_s)
            finish_run(database, run_id, RunOutcome(status=Status.SUCCEEDED, finished_at=datetime.now(UTC)))

    thread = threading.Thread(target=begin_and_end)
    thread.start()
    try:
        yield taken_s
    finally:
        stopped.set()
        thread.join()


def _begin(database: Database, job: Job) -> int:
    environment = describe_environment(None, workers=1, start_method="fork")
    clock, owner = (lambda: datetime.now(UTC)), describe_process()
    return begin_run(database, job, None, clock=clock, environment=environment, owner=owner, at_once=64)


def _save(database: Database, job: Job, snapshot: Snapshot) -> float:
    run_id = _begin(database, job)
    began_s = time.perf_counter()
    finish_run(database, run_id, RunOutcome(status=Status.SUCCEEDED, finished_at=datetime.now(UTC), snapshot=snapshot))
    return time.perf_counter() - began_s


if __name__ == "__main__":
    main()
