"""What was in a tree: rebuilt for any run, compared between any two, followed through a file's own life.

Runs serve as positions. A position is any number: that of a run, or one between runs; what holds there is what the
job's last saved run at or before it left.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, literal_column, or_, select

from runner.history.database import Reader
from runner.history.findings import digest_path
from runner.history.rows import STAT_COLUMNS, read_stat
from runner.history.tables import directories, files, problems, runs
from runner.model.contents import FolderCount, Version
from runner.model.runs import Change, ChangeKind, FoundFile, Problem, Run
from runner.scan.found import lies_in
from runner.scan.snapshot import join_path

_CHUNK = 10_000
# The byte behind the slash: with it instead, a folder's path is the first that lies behind everything below it.
_BEHIND_SLASH = b"0"


def list_files(database: Reader, job_id: int, position: int, under: bytes = b"") -> Iterator[FoundFile]:
    """List the files of a job at a position, in the order of folders and names, few at a time.

    Args:
        database: Where they are kept.
        job_id: Whose.
        position: When.
        under: Only those below this folder, relative to the root; empty for all.
    """
    query = (
        select(directories.c.path, files.c.name, files.c.first_run_id, *STAT_COLUMNS)
        .join(directories, files.c.folder_id == directories.c.id)
        .where(*_alive(job_id, position), *_below(under))
        .order_by(directories.c.path, files.c.name)
    )
    with database.read() as connection:
        unread = set(connection.execute(select(problems.c.path).where(*_unread(job_id, position))).scalars())
        for row in connection.execute(query.execution_options(yield_per=_CHUNK)):
            path = join_path(row.path, row.name)
            size_bytes, mtime_ns = read_stat(row.size_bytes, row.mtime_ns, row.mtime_exact)
            yield FoundFile(
                path=path,
                size_bytes=size_bytes,
                mtime_ns=mtime_ns,
                first_run=row.first_run_id,
                unknown=bool(unread) and lies_in(path, unread),
            )


def list_changes(database: Reader, job_id: int, before: int, after: int, under: bytes = b"") -> list[Change]:
    """List what differs between two positions, in the order of paths.

    What came and went between them does not show, nor what was changed and changed back. Where a file's size and time
    are not known at one of them, nothing is known to have changed.

    Args:
        database: Where it is kept.
        job_id: Whose.
        before: The earlier position.
        after: The later one.
        under: Only below this folder, relative to the root; empty for all.
    """
    query = (
        select(directories.c.path, files.c.name, files.c.first_run_id, files.c.gone_run_id, *STAT_COLUMNS)
        .join(directories, files.c.folder_id == directories.c.id)
        # The job stands on both sides, or SQLite would read all of its files instead of two ranges of indexes.
        .where(
            or_(
                and_(files.c.job_id == job_id, files.c.first_run_id > before, files.c.first_run_id <= after),
                and_(files.c.job_id == job_id, files.c.gone_run_id > before, files.c.gone_run_id <= after),
            ),
            *_below(under),
        )
    )
    old: dict[bytes, tuple[int | None, int | None]] = {}
    new: dict[bytes, tuple[int | None, int | None]] = {}
    with database.read() as connection:
        for folder, name, first_run_id, gone_run_id, *stat in connection.execute(query):
            if first_run_id <= before:
                old[join_path(folder, name)] = read_stat(*stat)
            elif gone_run_id is None or gone_run_id > after:
                new[join_path(folder, name)] = read_stat(*stat)
    changes = []
    for path in sorted({*old, *new}):
        kind = ChangeKind.MODIFIED
        if path not in old:
            kind = ChangeKind.ADDED
        elif path not in new:
            kind = ChangeKind.REMOVED
        elif old[path] == new[path] or (None, None) in {old[path], new[path]}:
            continue
        changes.append(
            Change(
                kind=kind,
                path=path,
                old_size_bytes=old.get(path, (None, None))[0],
                new_size_bytes=new.get(path, (None, None))[0],
            )
        )
    return changes


def list_versions(database: Reader, job_id: int, path: bytes) -> list[Version]:
    """List what became of one file, oldest first; nothing for one that was never found.

    Args:
        database: Where it is kept.
        job_id: Whose.
        path: Relative to the root.
    """
    folder, _, name = path.rpartition(b"/")
    first, gone = runs.alias(), runs.alias()
    query = (
        select(
            files.c.first_run_id,
            files.c.gone_run_id,
            *STAT_COLUMNS,
            first.c.finished_at.label("seen_at"),
            gone.c.finished_at.label("gone_at"),
        )
        .join(directories, files.c.folder_id == directories.c.id)
        .outerjoin(first, first.c.id == files.c.first_run_id)
        .outerjoin(gone, gone.c.id == files.c.gone_run_id)
        .where(directories.c.job_id == job_id, directories.c.path_digest == digest_path(folder), files.c.name == name)
        .order_by(files.c.first_run_id)
    )
    with database.read() as connection:
        return [
            Version(
                first_run=row.first_run_id,
                gone_run=row.gone_run_id,
                size_bytes=row.size_bytes,
                mtime_ns=read_stat(row.size_bytes, row.mtime_ns, row.mtime_exact)[1],
                seen_at=row.seen_at,
                gone_at=row.gone_at,
            )
            for row in connection.execute(query)
        ]


def count_folders(database: Reader, job_id: int, position: int, under: bytes = b"") -> list[FolderCount]:
    """Count the files that lie directly in each folder, at a position; only folders that hold any."""
    query = (
        select(directories.c.path, func.count(), *_halves(files.c.size_bytes))
        .join(directories, files.c.folder_id == directories.c.id)
        .where(*_alive(job_id, position), *_below(under))
        .group_by(directories.c.id, directories.c.path)
        .order_by(directories.c.path)
    )
    with database.read() as connection:
        return [
            FolderCount(path=path, files=count, size_bytes=None if low is None else (int(high) << 32) + int(low))
            for path, count, high, low in connection.execute(query)
        ]


def has_folder(database: Reader, job_id: int, path: bytes) -> bool:
    """Whether anything was ever found below a folder."""
    query: Select[Any] = select(directories.c.id).where(directories.c.job_id == job_id, *_below(path)).limit(1)
    with database.read() as connection:
        return connection.execute(query).first() is not None


def list_problems(database: Reader, run: Run) -> list[Problem]:
    """List the paths that a run could not read, in their order."""
    if not run.problems:  # a run that saved nothing knows nothing of the problems around it
        return []
    query = select(problems).where(*_unread(run.job_id, run.run_id)).order_by(problems.c.path)
    with database.read() as connection:
        return [Problem(path=row.path, errno=row.errno, text=row.text) for row in connection.execute(query)]


def _halves(sizes: ColumnElement[Any]) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Sum the upper and the lower 32 bits of sizes by themselves: a sum of SQLite's has 63 bits, as one size may."""
    return func.sum(sizes.bitwise_rshift(literal_column("32"))), func.sum(sizes.bitwise_and(2**32 - 1))


def _alive(job_id: int, position: int) -> tuple[ColumnElement[bool], ...]:
    return (
        files.c.job_id == job_id,
        files.c.first_run_id <= position,
        or_(files.c.gone_run_id.is_(None), files.c.gone_run_id > position),
    )


def _unread(job_id: int, position: int) -> tuple[ColumnElement[bool], ...]:
    return (
        problems.c.job_id == job_id,
        problems.c.first_run_id <= position,
        or_(problems.c.gone_run_id.is_(None), problems.c.gone_run_id > position),
    )


def _below(folder: bytes) -> tuple[ColumnElement[bool], ...]:
    if not folder:
        return ()
    below = and_(directories.c.path > folder + b"/", directories.c.path < folder + _BEHIND_SLASH)
    return (or_(directories.c.path == folder, below),)
