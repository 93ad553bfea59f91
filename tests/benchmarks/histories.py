"""Synthetic histories of any size, written straight into the tables."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random
from typing import Any

from sqlalchemy import Connection, Table, insert, select

from runner.history.database import Database
from runner.history.jobs import add_job
from runner.history.tables import directories, environments, executions, files, runs
from runner.model.jobs import JobSpec, Schedule, ScheduleKind

_EVERY = timedelta(hours=1)
_FILES_A_FOLDER = 20
_ROWS = 20_000


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
    now = datetime.now(UTC).replace(microsecond=0)
    rounds = n_runs // n_jobs
    start = now - rounds * _EVERY
    jobs = [_job(number, start) for number in range(n_jobs)]
    job_ids = [add_job(database, spec, start).job_id for spec in jobs]
    with database.write() as connection:
        selection_id = connection.exec_driver_sql("SELECT min(id) FROM selections").scalar_one()
        connection.execute(insert(environments).values(_ENVIRONMENT))
        environment_id = connection.execute(select(environments.c.id)).scalar_one()
        _insert(connection, runs, _runs(job_ids, rounds, start, selection_id, environment_id, n_files // n_jobs))
        _insert(connection, executions, _executions(n_jobs * rounds, random))
        _insert(connection, directories, _folders(job_ids, n_files // n_jobs))
        folder_ids = {
            (row.job_id, row.path): row.id
            for row in connection.execute(select(directories.c.id, directories.c.job_id, directories.c.path))
        }
        _insert(connection, files, _files(job_ids, folder_ids, rounds, n_files // n_jobs, random))


_ENVIRONMENT = {
    "host": "here",
    "system": "Linux 6.1.0",
    "machine": "x86_64",
    "python": "CPython 3.11.7",
    "cpus": 2,
    "start_method": "fork",
    "workers": 2,
    "filesystem": "ext4",
    "runner_version": "0.1.0",
}


def _job(number: int, start: datetime) -> JobSpec:
    schedule = Schedule(kind=ScheduleKind.EVERY, expression="1h", timezone="UTC", anchor_at=start)
    return JobSpec(name=f"job-{number:04}", root=b"/srv/%04d" % number, schedule=schedule)


def _insert(connection: Connection, table: Table, rows: Iterator[dict[str, Any]]) -> None:
    while chunk := list(islice(rows, _ROWS)):
        connection.execute(insert(table), chunk)


def _runs(
    job_ids: list[int], rounds: int, start: datetime, selection_id: int, environment_id: int, n_files: int
) -> Iterator[dict[str, Any]]:
    number = 0
    for round_ in range(rounds):
        at = start + (round_ + 1) * _EVERY - timedelta(minutes=30)
        for job_id in job_ids:
            number += 1
            yield {
                "id": number,
                "job_id": job_id,
                "selection_id": selection_id,
                "environment_id": environment_id,
                "cause": "schedule",
                "status": "succeeded",
                "scheduled_at": at,
                "started_at": at,
                "finished_at": at + timedelta(seconds=1),
                "wall_s": 1.0,
                "files": n_files,
                "directories": 1 + n_files // _FILES_A_FOLDER,
                "added": 0,
                "removed": 0,
                "modified": 0,
            }


def _executions(n_runs: int, random: Random) -> Iterator[dict[str, Any]]:
    for run_id in range(1, n_runs + 1):
        order = ("sequential", "pool") if run_id % 2 else ("pool", "sequential")
        for position, strategy in enumerate(order, start=1):
            parallel = strategy == "pool"
            yield {
                "run_id": run_id,
                "position": position,
                "strategy": strategy,
                "status": "succeeded",
                "workers": 2 if parallel else 1,
                "start_method": "fork" if parallel else None,
                "wall_s": (0.3 if parallel else 0.5) * random.lognormvariate(0, 0.08),
                "startup_s": 0.01 if parallel else 0.0,
                "user_s": 0.3,
                "system_s": 0.2,
                "max_rss_bytes": 20_000_000,
                "cache": "warm",
                "files": 100,
                "directories": 6,
                "entries": 1_000,
            }


def _folders(job_ids: list[int], n_files: int) -> Iterator[dict[str, Any]]:
    for job_id in job_ids:
        for number in range(-(-n_files // _FILES_A_FOLDER)):
            path = b"folder-%03d" % number
            digest = hashlib.blake2b(path, digest_size=16).digest()
            yield {"job_id": job_id, "path": path, "path_digest": digest, "findings_digest": digest}


def _files(
    job_ids: list[int], folder_ids: dict[tuple[int, bytes], int], rounds: int, n_files: int, random: Random
) -> Iterator[dict[str, Any]]:
    """Return each file a first state and up to five others, at rounds of its job drawn at random."""
    for place, job_id in enumerate(job_ids, start=1):
        for number in range(n_files):
            folder_id = folder_ids[job_id, b"folder-%03d" % (number // _FILES_A_FOLDER)]
            changes = sorted(random.sample(range(1, rounds), min(rounds - 1, random.randrange(6))))
            bounds = [0, *changes]
            for first, gone in zip(bounds, [*changes, None], strict=True):
                yield {
                    "folder_id": folder_id,
                    "name": b"file-%04d.md" % number,
                    "first_run_id": first * len(job_ids) + place,
                    "gone_run_id": None if gone is None else gone * len(job_ids) + place,
                    "job_id": job_id,
                    "size_bytes": random.randrange(10_000),
                    "mtime_ns": random.randrange(10**18),
                }
