"""The findings of a run compared with the intervals of the runs before: the cost is proportional to what changed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import NamedTuple

from sqlalchemy import select

from runner.history.database import Reader
from runner.history.rows import STAT_COLUMNS, FileRow, file_rows
from runner.history.tables import directories, files
from runner.scan.snapshot import Snapshot, lies_in

# How many directories are compared at once.
_DIRECTORIES = 500
# The stat of a file that is found, but not read.
_UNKNOWN = (None, None, None)


@dataclass(slots=True)
class ChangeCounts:
    """The numbers of changed files; modified ones have another size or modification time."""

    added: int = 0
    removed: int = 0
    modified: int = 0


@dataclass(slots=True)
class Directory:
    """A directory to be written.

    Attributes:
        path: Relative to the root.
        directory_id: None until it is inserted.
        digest: The digest of its findings; empty if there are none any more.
    """

    path: bytes
    directory_id: int | None
    digest: bytes


class Change(NamedTuple):
    """Intervals that a run begins and ends in a directory, all of them or a part."""

    directory: Directory
    ended: Sequence[tuple[bytes, int]] = ()  # name and first run
    begun: Sequence[FileRow] = ()  # by name

    @property
    def rows(self) -> int:
        """The number of rows to be written, in proportion to which a transaction lasts."""
        return 1 + len(self.ended) + len(self.begun)


def find_changes(
    database: Reader, job_id: int, snapshot: Snapshot, counts: ChangeCounts, max_rows: int
) -> Iterator[Change]:
    """Yield the changes of each directory whose digest is not the stored one, and add their numbers to *counts*.

    The files of an unreadable directory are unknown, so their intervals continue. The files of few directories are in
    memory at a time. Nothing is locked meanwhile: only the running run of a job changes what is compared.
    """
    known, digests = _load_directories(database, job_id), snapshot.digests()
    unreadable = {path for path, _, _ in snapshot.problems}
    vanished = (
        (path, b"", b"")
        for path, (_, digest) in known.items()
        if digest and path not in digests and not lies_in(path, unreadable)
    )
    batch: list[tuple[Directory, bytes, bytes]] = []
    n_files = 0
    for path, names, stats in chain(snapshot.findings(), vanished):
        directory_id, before = known.get(path, (None, None))
        digest = digests.get(path, b"")
        if digest == before:
            continue
        batch.append((Directory(path, directory_id, digest), names, stats))
        n_files += names.count(b"\0") + 1
        if n_files >= max_rows or len(batch) == _DIRECTORIES:
            yield from _compare(database, batch, counts, max_rows)
            batch, n_files = [], 0
    yield from _compare(database, batch, counts, max_rows)


def _load_directories(database: Reader, job_id: int) -> dict[bytes, tuple[int, bytes]]:
    """Return the numbers and the digests of directories by path."""
    columns = (directories.c.path, directories.c.id, directories.c.findings_digest)
    query = select(*columns).where(directories.c.job_id == job_id)
    with database.read() as connection:
        # All at once: row by row takes three times as long.
        return {path: (directory_id, digest) for path, directory_id, digest in connection.execute(query).all()}


def _compare(
    database: Reader, batch: Sequence[tuple[Directory, bytes, bytes]], counts: ChangeCounts, max_rows: int
) -> Iterator[Change]:
    before = _load_files(database, [one.directory_id for one, *_ in batch if one.directory_id is not None])
    for directory, names, stats in batch:
        after = file_rows(names, stats)
        ended: list[tuple[bytes, int]] = []
        if old := before.pop(directory.directory_id, None):
            ended, after = _compare_files(old, after, counts)
        else:
            counts.added += len(after)
        if len(ended) + len(after) < max_rows:
            yield Change(directory, ended, after)
            continue
        for start in range(0, len(ended), max_rows):  # first, so that no interval overlaps another
            yield Change(directory, ended=ended[start : start + max_rows])
        for start in range(0, len(after), max_rows):
            yield Change(directory, begun=after[start : start + max_rows])


def _load_files(database: Reader, directory_ids: Sequence[int]) -> dict[int | None, list[tuple[int, FileRow]]]:
    """Load the current files of directories, each with its first run, by directory."""
    by_directory: dict[int | None, list[tuple[int, FileRow]]] = {}
    if directory_ids:
        # Without their job, by whose index SQLite would read all files.
        query = select(files.c.folder_id, files.c.first_run_id, files.c.name, *STAT_COLUMNS)
        query = query.where(files.c.folder_id.in_(directory_ids), files.c.gone_run_id.is_(None))
        with database.read() as connection:
            for row in connection.execute(query).all():
                by_directory.setdefault(row[0], []).append((row[1], row[2:]))
    return by_directory


def _compare_files(
    before: Sequence[tuple[int, FileRow]], after: Sequence[FileRow], counts: ChangeCounts
) -> tuple[list[tuple[bytes, int]], list[FileRow]]:
    """Compare the files of a directory with the stored intervals; return those that end and those that begin."""
    ended: list[tuple[bytes, int]] = []
    begun = {row[0]: row for row in after}
    counts.added += len(after)
    for first_run_id, old in before:
        new = begun.get(old[0])
        if new is None:
            counts.removed += 1
        else:
            counts.added -= 1
            if new == old or new[1:] == _UNKNOWN:  # not read now, so no change is known
                del begun[old[0]]
                continue
            counts.modified += old[1:] != _UNKNOWN
        ended.append((old[0], first_run_id))
    return ended, list(begun.values())


def digest_path(path: bytes) -> bytes:
    """Return the digest of a path, which itself may be longer than an index entry."""
    return blake2b(path, digest_size=16).digest()
