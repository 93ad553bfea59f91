"""Synthetic histories: single runs that were never carried out, and histories of any size, straight into the tables."""

import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random
from typing import Any

from sqlalchemy import Connection, Table, insert, select

from runner.history.database import Database
from runner.history.findings import digest_path
from runner.history.jobs import add_job
from runner.history.recording import RunOutcome, begin_run, finish_run
from runner.history.tables import directories, environments, executions, files, runs
from runner.measure.environment import describe_environment, describe_process
from runner.model.jobs import Job, JobSpec, Schedule, ScheduleKind
from runner.model.runs import Execution, Status
from runner.scan.snapshot import Snapshot

_EVERY = timedelta(hours=1)
_FILES_A_FOLDER = 20
_FILES_A_LEAF = 100
_ROWS = 20_000
# What all executions have in common.
_FIGURES: dict[str, Any] = {"user_s": 0.3, "system_s": 0.2, "max_rss_bytes": 20_000_000}


def save_run(database: Database, job: Job, snapshot: Snapshot, wall_s: float) -> float:
    """Save a manual run of one strategy that found a snapshot; return the seconds it took to finish it."""
    now = datetime.now(UTC)
    run_id = begin_run(
        database,
        job,
        None,
        clock=lambda: now,
        environment=describe_environment(None, workers=1, start_method="fork"),
        owner=describe_process(),
    )
    counts = {name: getattr(snapshot, name) for name in ("files", "directories", "entries")}
    execution = Execution(
        strategy="incremental", position=1, status=Status.SUCCEEDED, wall_s=wall_s, startup_s=0.0, **_FIGURES, **counts
    )
    ending = RunOutcome(
        status=Status.SUCCEEDED,
        finished_at=datetime.now(UTC),
        wall_s=wall_s,
        executions=[execution],
        snapshot=snapshot,
    )
    began = time.perf_counter()
    finish_run(database, run_id, ending)
    return time.perf_counter() - began


def write_history(database: Database, *, n_runs: int, n_jobs: int, n_files: int, seed: int = 0) -> None:
    """Write jobs whose hourly runs end now, and files each of which changes a few times over their course.

    Args:
        database: An empty one.
        n_runs: How many runs in all.
        n_jobs: How many jobs share them.
        n_files: How many files in all.
        seed: Of the chance.
    """
    random = Random(seed)  # noqa: S311  chance, not secrets
    rounds = n_runs // n_jobs
    start = datetime.now(UTC).replace(microsecond=0) - rounds * _EVERY
    schedule = Schedule(kind=ScheduleKind.EVERY, expression="1h", timezone="UTC", interval_origin=start)
    specs = [JobSpec(name=f"job-{n:04}", root=b"/srv/%04d" % n, schedule=schedule) for n in range(n_jobs)]
    job_ids = [add_job(database, spec, start).job_id for spec in specs]
    here = describe_environment(None, workers=2, start_method="fork")
    columns = [column.name for column in environments.c if column.name != "id"]
    with database.write() as connection:
        selection_id = connection.exec_driver_sql("SELECT min(id) FROM selections").scalar_one()
        connection.execute(insert(environments).values({name: getattr(here, name) for name in columns}))
        environment_id = connection.execute(select(environments.c.id)).scalar_one()
        shared = {"selection_id": selection_id, "environment_id": environment_id}
        _insert(connection, runs, _runs(job_ids, rounds, start, n_files // n_jobs, shared))
        _insert(connection, executions, _executions(n_jobs * rounds, random))
        _insert(connection, directories, _folders(job_ids, n_files // n_jobs))
        query = select(directories.c.job_id, directories.c.path, directories.c.id)
        folder_ids = {(job_id, path): folder_id for job_id, path, folder_id in connection.execute(query)}
        _insert(connection, files, _files(job_ids, folder_ids, rounds, n_files // n_jobs, random))


def write_tree(database: Database, n_files: int) -> None:
    """Write a job ``job-0000`` whose run 1 found files, a hundred in each directory; run 2 found no change.

    Args:
        database: An empty one.
        n_files: How many files.
    """
    write_history(database, n_runs=2, n_jobs=1, n_files=0)
    numbers = list(range(1, n_files // _FILES_A_LEAF + 1))
    paths = [tree_directory(number) for number in numbers]
    Random(0).shuffle(numbers)  # noqa: S311  a scan reads directories in any order
    location = database.location
    with database.write() as connection:
        folders = [(number, 1, path, digest_path(path), b"") for number, path in zip(numbers, paths, strict=True)]
        location.insert_many(connection, directories, directories.c.keys(), folders)
        names = [b"file-%04d.md" % number for number in range(_FILES_A_LEAF)]
        for start in range(0, len(numbers), _ROWS // _FILES_A_LEAF):
            some = range(start + 1, start + 1 + _ROWS // _FILES_A_LEAF)[: len(numbers) - start]
            rows = [
                (number, name, 1, None, 1, 1_000 + number, 10**18 + 1_000_000_007 * number, None)
                for number in some
                for name in names
            ]
            location.insert_many(connection, files, files.c.keys(), rows)


def tree_directory(number: int) -> bytes:
    """Return the path of a directory of :func:`write_tree`, from number 1 on."""
    return b"area-%02d/group-%03d/leaf-%06d" % (number % 20, number // 20 % 100, number)


def _insert(connection: Connection, table: Table, rows: Iterator[dict[str, Any]]) -> None:
    while chunk := list(islice(rows, _ROWS)):
        connection.execute(insert(table), chunk)


def _runs(
    job_ids: list[int], rounds: int, start: datetime, n_files: int, shared: dict[str, int]
) -> Iterator[dict[str, Any]]:
    found = {"files": n_files, "directories": 1 + n_files // _FILES_A_FOLDER}
    common = {"cause": "schedule", "status": "succeeded", "wall_s": 1.0, **found, **shared}
    common |= dict.fromkeys(("added", "removed", "modified"), 0)
    for number in range(rounds * len(job_ids)):
        round_, place = divmod(number, len(job_ids))
        at = start + round_ * _EVERY + _EVERY / 2
        instants = {"scheduled_at": at, "started_at": at, "finished_at": at + timedelta(seconds=1)}
        yield {"id": number + 1, "job_id": job_ids[place], **common, **instants}


def _executions(n_runs: int, random: Random) -> Iterator[dict[str, Any]]:
    common = {"status": "succeeded", "cache": "warm", "files": 100, "directories": 6, "entries": 1_000, **_FIGURES}
    strategies = (
        (0.5, {"strategy": "sequential", "workers": 1, "start_method": None, "startup_s": 0.0}),
        (0.3, {"strategy": "pool", "workers": 2, "start_method": "fork", "startup_s": 0.01}),
    )
    for run_id in range(1, n_runs + 1):
        for position, (wall_s, strategy) in enumerate(strategies if run_id % 2 else strategies[::-1], start=1):
            times = {"run_id": run_id, "position": position, "wall_s": wall_s * random.lognormvariate(0, 0.08)}
            yield {**common, **strategy, **times}


def _folders(job_ids: list[int], n_files: int) -> Iterator[dict[str, Any]]:
    for job_id in job_ids:
        for number in range(-(-n_files // _FILES_A_FOLDER)):
            path = b"folder-%03d" % number
            digest = hashlib.blake2b(path, digest_size=16).digest()
            yield {"job_id": job_id, "path": path, "path_digest": digest, "findings_digest": digest}


def _files(
    job_ids: list[int], folder_ids: dict[tuple[int, bytes], int], rounds: int, n_files: int, random: Random
) -> Iterator[dict[str, Any]]:
    """Yield for each file a first state and up to five others, at rounds of its job drawn at random."""
    for place, job_id in enumerate(job_ids, start=1):
        for number in range(n_files):
            folder_id = folder_ids[job_id, b"folder-%03d" % (number // _FILES_A_FOLDER)]
            changes = sorted(random.sample(range(1, rounds), min(rounds - 1, random.randrange(6))))
            for first, gone in zip([0, *changes], [*changes, None], strict=True):
                yield {
                    "folder_id": folder_id,
                    "name": b"file-%04d.md" % number,
                    "first_run_id": first * len(job_ids) + place,
                    "gone_run_id": None if gone is None else gone * len(job_ids) + place,
                    "job_id": job_id,
                    "size_bytes": random.randrange(10_000),
                    "mtime_ns": random.randrange(10**18),
                }
