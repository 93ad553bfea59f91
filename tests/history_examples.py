"""Plain databases, jobs, runs and snapshots."""

import errno
import os
import subprocess
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from runner.history.database import Database, locate
from runner.history.jobs import add_job
from runner.history.recording import RunOutcome, begin_run, finish_run
from runner.history.runs import get_run
from runner.history.upgrade import open_database
from runner.model.jobs import Job, JobSpec
from runner.model.runs import Environment, Owner, Run, Status
from runner.scan.snapshot import PLACE, STAMPS, UNKNOWN, Part, Snapshot, found_names
from tests.benchmarks.snapshots import stored

NOW = datetime(2026, 11, 22, 10, 2, 3, 456789, tzinfo=UTC)
ENVIRONMENT = Environment(
    host="here",
    system="Linux 6.1.0",
    machine="x86_64",
    python="CPython 3.11.7",
    cpus=2,
    start_method="fork",
    workers=2,
    filesystem="ext4",
    runner_version="0.1.0",
)
OWNER = Owner(host="here", boot="this", pid=4711, started_s=1234.5)

Finding = tuple[bytes, bytes, bytes]
# Size in bytes and modification time in nanoseconds; None for a file that could not be looked at.
Stat = tuple[int, int] | None


@contextmanager
def opened(place: Path | str) -> Iterator[Database]:
    database = open_database(locate(str(place)))
    try:
        yield database
    finally:
        database.close()


def some_job(database: Database, name: str = "docs", root: bytes = b"/srv/docs") -> Job:
    return add_job(database, JobSpec(name=name, root=root), NOW)


def listing(path: bytes, found: Mapping[bytes, Stat] | Sequence[bytes]) -> Finding:
    """Return the findings of a directory: names with or without stats."""
    names = sorted(found)
    stats = array("q")
    if isinstance(found, Mapping):
        for name in names:
            stats.extend(found[name] or (UNKNOWN, UNKNOWN))
    return path, b"\0".join(names), stats.tobytes()


def snapshot(*findings: Finding, unreadable: Sequence[bytes] = ()) -> Snapshot:
    part = Part()
    part.problems = [(path, errno.EACCES, os.strerror(errno.EACCES)) for path in unreadable]
    for path, names, stats in findings:
        part.names.append(path)
        part.found.append(names)
        part.stats.append(stats)
        part.places += PLACE.pack(-1, len(found_names(names)))
        part.stamps += STAMPS.pack(1, 2, 3, 4)
    return stored([part])


def begin(database: Database, job: Job, owner: Owner = OWNER, at_once: int = 1) -> int:
    return begin_run(
        database,
        job,
        None,
        clock=lambda: NOW,
        environment=ENVIRONMENT,
        owner=owner,
        at_once=at_once,
    )


def play(database: Database, job: Job, found: Snapshot | None) -> Run:
    """Save one run with a snapshot; None for a failed one."""
    run_id = begin(database, job)
    status = Status.SUCCEEDED if found is not None else Status.FAILED
    assert finish_run(database, run_id, RunOutcome(status=status, finished_at=NOW, snapshot=found))
    return get_run(database, run_id)


def refused_by_permissions(program: str, *arguments: str) -> str:
    """Run a program without root's right to bypass permissions; return its output."""
    obey = (
        "import ctypes, os, sys\n"
        "if os.geteuid() == 0:\n"
        "    for right in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH\n"
        "        assert ctypes.CDLL(None).prctl(24, right, 0, 0, 0) == 0  # PR_CAPBSET_DROP\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    command = [sys.executable, "-c", obey, "-c", program, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def contents(directory: Path) -> dict[str, bytes | None]:
    """Return every entry below a directory with its bytes."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }


def count_rows(database: Database, *tables: str) -> list[int]:
    count: Callable[[str], str] = "SELECT count(*) FROM {}".format
    with database.read() as connection:
        return [connection.exec_driver_sql(count(table)).scalar_one() for table in tables]
