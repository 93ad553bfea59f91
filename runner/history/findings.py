"""Saving the findings of a run as intervals: the cost is proportional to what changed."""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from runner.history.backend import Backend
from runner.history.rows import STAT_COLUMNS, read_stat, stat_values
from runner.history.tables import directories, files, jobs, problems
from runner.model.runs import Problem
from runner.scan.snapshot import Snapshot, digest_directory, found_names, lies_in, unpack_stats

# For more directories than this, all files of the job are read.
_FEW = 500
_CHUNK = 10_000

# Size in bytes and modification time in nanoseconds; None if unknown.
Stat = tuple[int | None, int | None]
_UNKNOWN: Stat = (None, None)
# Path, names and stats of a directory.
_Finding = tuple[bytes, bytes, bytes]


@dataclass(slots=True)
class ChangeCounts:
    """The numbers of changed files; modified ones have another size or modification time."""

    added: int = 0
    removed: int = 0
    modified: int = 0


class _Changes:
    """The changes of one run, in rows to be written."""

    def __init__(self, job_id: int, run_id: int) -> None:
        self.job_id, self.run_id = job_id, run_id
        self.counts = ChangeCounts()
        self.begun: list[tuple[Any, ...]] = []  # rows of files
        self.ended: list[tuple[int, int, bytes, int]] = []  # the run that ends them, and keys of rows of files

    def begin(self, directory_id: int, name: bytes, stat: Stat) -> None:
        self.begun.append((directory_id, name, self.run_id, None, self.job_id, *stat_values(stat)))

    def compare(self, directory_id: int, before: dict[bytes, tuple[int, Stat]], after: dict[bytes, Stat]) -> None:
        """Compare the files of a directory with the stored intervals."""
        for name, (first_run_id, old) in before.items():
            new = after.get(name)
            if new is None:
                self.counts.removed += 1
            elif new in {old, _UNKNOWN}:  # not read now, so no change is known
                continue
            elif old != _UNKNOWN:
                self.counts.modified += 1
            self.ended.append((self.run_id, directory_id, name, first_run_id))
            if new is not None:
                self.begin(directory_id, name, new)
        for name, new in after.items():
            if name not in before:
                self.counts.added += 1
                self.begin(directory_id, name, new)


def record_findings(
    location: Backend, connection: Connection, job_id: int, run_id: int, snapshot: Snapshot
) -> ChangeCounts:
    """Save the findings of a run, within the caller's transaction.

    A snapshot, and each directory, with the stored digest is skipped. The files of an unreadable directory are unknown,
    so their intervals continue.
    """
    digest = snapshot.digest
    if digest == connection.execute(select(jobs.c.findings_digest).where(jobs.c.id == job_id)).scalar():
        return ChangeCounts()
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(findings_digest=digest))
    changed, new = _compare_directories(_load_directories(connection, job_id), snapshot)
    current = {Problem(path=path, errno=number, text=text) for path, number, text in snapshot.problems}
    _record_problems(connection, job_id, run_id, current)
    changes = _Changes(job_id, run_id)
    if new:
        _insert_directories(location, connection, new, changes)
    before = _load_files(connection, job_id, changed.keys())
    for directory_id, (_, found) in changed.items():
        changes.compare(directory_id, before.get(directory_id, {}), found)
    if changes.ended:
        key = ("folder_id", "name", "first_run_id")
        location.update_many(connection, files, "gone_run_id", key, changes.ended)
    if changes.begun:
        location.insert_many(connection, files, files.c.keys(), changes.begun)
    if changed:
        digests = [(digest, directory_id) for directory_id, (digest, _) in changed.items()]
        location.update_many(connection, directories, "findings_digest", ["id"], digests)
    return changes.counts


def _load_directories(connection: Connection, job_id: int) -> dict[bytes, tuple[int, bytes]]:
    """Return the numbers and the digests of directories by path."""
    columns = (directories.c.path, directories.c.id, directories.c.findings_digest)
    query = select(*columns).where(directories.c.job_id == job_id)
    # All at once: row by row takes three times as long, most of the time of an unchanged run.
    return {path: (directory_id, digest) for path, directory_id, digest in connection.execute(query).all()}


def _load_files(
    connection: Connection, job_id: int, directory_ids: Collection[int]
) -> dict[int, dict[bytes, tuple[int, Stat]]]:
    """Load the current files of directories: by directory and name, the first run and the stat."""
    by_directory: dict[int, dict[bytes, tuple[int, Stat]]] = {}
    if not directory_ids:
        return by_directory
    key = (files.c.folder_id, files.c.name, files.c.first_run_id)
    query = select(*key, *STAT_COLUMNS).where(files.c.job_id == job_id, files.c.gone_run_id.is_(None))
    if len(directory_ids) <= _FEW:
        query = query.where(files.c.folder_id.in_(directory_ids))
    # In chunks: row by row takes twice the time, and all at once twice the memory.
    for chunk in connection.execute(query).partitions(_CHUNK):
        for directory_id, name, first_run_id, *stat in chunk:
            if directory_id in directory_ids:
                by_directory.setdefault(directory_id, {})[name] = (first_run_id, read_stat(*stat))
    return by_directory


def _compare_directories(
    known: dict[bytes, tuple[int, bytes]], snapshot: Snapshot
) -> tuple[dict[int, tuple[bytes, dict[bytes, Stat]]], list[tuple[_Finding, bytes]]]:
    """Return the digests and files of known directories that changed, and the findings and digests of new ones."""
    changed: dict[int, tuple[bytes, dict[bytes, Stat]]] = {}
    new: list[tuple[_Finding, bytes]] = []
    listed = set()
    for path, names, stats in snapshot.findings():
        listed.add(path)
        digest = digest_directory(names, stats)
        if path not in known:
            new.append(((path, names, stats), digest))
        elif digest != known[path][1]:
            changed[known[path][0]] = (digest, dict(_found(names, stats)))
    unreadable = {path for path, _, _ in snapshot.problems}
    for path, (directory_id, digest) in known.items():
        if path not in listed and digest and not lies_in(path, unreadable):
            changed[directory_id] = (b"", {})
    return changed, new


def _insert_directories(
    location: Backend, connection: Connection, new: list[tuple[_Finding, bytes]], changes: _Changes
) -> None:
    """Add new directories, and record their files as added."""
    rows = [(changes.job_id, path, digest_path(path), digest) for (path, _, _), digest in new]
    location.insert_many(connection, directories, ("job_id", "path", "path_digest", "findings_digest"), rows)
    known = _load_directories(connection, changes.job_id)
    for (path, names, stats), _ in new:
        directory_id, _ = known[path]
        for name, stat in _found(names, stats):
            changes.begin(directory_id, name, stat)
    changes.counts.added += len(changes.begun)


def _record_problems(connection: Connection, job_id: int, run_id: int, current: set[Problem]) -> None:
    query = select(problems).where(problems.c.job_id == job_id, problems.c.gone_run_id.is_(None))
    before = {Problem(path=row.path, errno=row.errno, text=row.text): row.id for row in connection.execute(query)}
    ended = [{"problem": before[problem]} for problem in before.keys() - current]
    if ended:
        by_id = update(problems).where(problems.c.id == bindparam("problem"))
        connection.execute(by_id.values(gone_run_id=run_id), ended)
    begun = [{"job_id": job_id, **asdict(one), "first_run_id": run_id} for one in current - before.keys()]
    if begun:
        connection.execute(insert(problems), begun)


def _found(names: bytes, stats: bytes) -> Iterable[tuple[bytes, Stat]]:
    found = found_names(names)
    return zip(found, unpack_stats(stats) if stats else [_UNKNOWN] * len(found), strict=True)


def digest_path(path: bytes) -> bytes:
    """Return the digest of a path, which itself may be longer than an index entry."""
    return blake2b(path, digest_size=16).digest()
