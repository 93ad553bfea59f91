"""The contents of a tree: the files at any run, the changes between two runs, the versions of a file.

A position is the number of a run, or a number between runs; the state there is that of the last saved run of the job
up to it. What a run writes while it is saved lies behind all positions. Where *under* is given, only what is below this
directory, relative to the root, counts; empty for all.
"""

from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, case, exists, func, literal_column, or_, select

from runner.history.database import Reader
from runner.history.findings import digest_path
from runner.history.rows import STAT_COLUMNS, Stat, read_stat
from runner.history.tables import directories, files, problems, runs
from runner.model.contents import ChangeCount, FolderCount, Version
from runner.model.runs import Change, ChangeKind, FoundFile, Problem, Run, Status
from runner.scan.snapshot import join_path, lies_in

_CHUNK = 10_000
# A directory's path with the byte after the slash sorts after all paths below the directory.
_AFTER_SLASH = b"0"


def list_files(database: Reader, job_id: int, position: int, under: bytes = b"") -> Iterator[FoundFile]:
    """Yield the files of a job at a position, by directory and name, with bounded memory."""
    query = (
        select(directories.c.path, files.c.name, files.c.first_run_id, *STAT_COLUMNS)
        .join(directories, files.c.folder_id == directories.c.id)
        .where(*_at(files, job_id, position), *_below(under))
        .order_by(directories.c.path, files.c.name)
    )
    with database.read() as connection:
        unreadable = _list_unreadable(connection, job_id, position)
        for row in connection.execute(query.execution_options(yield_per=_CHUNK)):
            yield _read_file(row, row.path, unreadable)


def list_directory(
    database: Reader, job_id: int, position: int, directory: bytes, *, after: bytes = b"", limit: int
) -> list[FoundFile]:
    """List at most *limit* files directly in a directory at a position, by name, from the one after a name."""
    query = (
        select(files.c.name, files.c.first_run_id, *STAT_COLUMNS)
        .join(directories, files.c.folder_id == directories.c.id)
        .where(directories.c.job_id == job_id, directories.c.path_digest == digest_path(directory))
        .where(*_at(files, None, position), files.c.name > after)
        .order_by(files.c.name)
        .limit(limit)
    )
    with database.read() as connection:
        unreadable = _list_unreadable(connection, job_id, position)
        return [_read_file(row, directory, unreadable) for row in connection.execute(query)]


def _list_unreadable(connection: Connection, job_id: int, position: int) -> set[bytes]:
    return set(connection.execute(select(problems.c.path).where(*_at(problems, job_id, position))).scalars())


def _read_file(row: Any, directory: bytes, unreadable: set[bytes]) -> FoundFile:
    path = join_path(directory, row.name)
    size_bytes, mtime_ns = read_stat(row.size_bytes, row.mtime_ns, row.mtime_exact)
    return FoundFile(
        path=path,
        size_bytes=size_bytes,
        mtime_ns=mtime_ns,
        first_run=row.first_run_id,
        unknown=bool(unreadable) and lies_in(path, unreadable),
    )


def list_changes(
    database: Reader,
    job_id: int,
    before: int,
    after: int,
    under: bytes = b"",
    *,
    within: Collection[bytes] | None = None,
) -> list[Change]:
    """List the differences between two positions, by path; *within* limits them to those directly in some directories.

    A file that was added and removed between them, or changed and changed back, is no difference. Nor is a file whose
    size and time are unknown at one of them.
    """
    query = (
        select(directories.c.path, files.c.name, files.c.first_run_id, *STAT_COLUMNS)
        .join(directories, files.c.folder_id == directories.c.id)
        .where(*_below(under))
    )
    if within is None:
        # With the job in both alternatives, SQLite reads two index ranges, not all files.
        query = query.where(_differs(before, after, files.c.job_id == job_id))
    else:
        digests = directories.c.path_digest.in_(list(map(digest_path, within)))
        query = query.where(_differs(before, after), directories.c.job_id == job_id, digests)
    old: dict[bytes, Stat] = {}
    new: dict[bytes, Stat] = {}
    with database.read() as connection:
        for directory, name, first_run_id, *stat in connection.execute(query):
            (old if first_run_id <= before else new)[join_path(directory, name)] = read_stat(*stat)
    unknown = (None, None)
    changes = []
    for path in sorted({*old, *new}):
        old_stat, new_stat = old.get(path, unknown), new.get(path, unknown)
        kind = ChangeKind.MODIFIED
        if path not in old:
            kind = ChangeKind.ADDED
        elif path not in new:
            kind = ChangeKind.REMOVED
        elif old_stat == new_stat or unknown in {old_stat, new_stat}:
            continue
        changes.append(Change(kind=kind, path=path, old_size_bytes=old_stat[0], new_size_bytes=new_stat[0]))
    return changes


def count_changes(database: Reader, job_id: int, before: int, after: int, under: bytes = b"") -> list[ChangeCount]:
    """Count the differences between two positions directly in each directory, by its path; see :func:`list_changes`."""
    is_old = files.c.first_run_id <= before
    columns = {name: files.c[name] for name in ("first_run_id", *(column.name for column in STAT_COLUMNS))}
    of_file = select(
        files.c.folder_id,
        *(func.max(case((is_old, column))).label(f"old_{name}") for name, column in columns.items()),
        *(func.max(case((~is_old, column))).label(f"new_{name}") for name, column in columns.items()),
    ).where(_differs(before, after, files.c.job_id == job_id))
    if under:
        within = select(directories.c.id).where(directories.c.job_id == job_id, *_below(under))
        of_file = of_file.where(files.c.folder_id.in_(within))
    file = of_file.group_by(files.c.folder_id, files.c.name).subquery().c
    exact = [func.coalesce(column, "") for column in (file.old_mtime_exact, file.new_mtime_exact)]
    # Comparisons with an unknown size or time are not true.
    has_changed = or_(
        file.old_size_bytes != file.new_size_bytes, file.old_mtime_ns != file.new_mtime_ns, exact[0] != exact[1]
    )
    kinds = (file.old_first_run_id.is_(None), file.new_first_run_id.is_(None), has_changed)
    added, removed, modified = (func.sum(case((kind, 1), else_=0)) for kind in kinds)
    query = (
        select(directories.c.path, added, removed, modified)
        .join(directories, file.folder_id == directories.c.id)
        .group_by(directories.c.id, directories.c.path)
        .order_by(directories.c.path)
    )
    with database.read() as connection:
        return [
            ChangeCount(path=path, added=int(added), removed=int(removed), modified=int(modified))
            for path, added, removed, modified in connection.execute(query)
            if added or removed or modified
        ]


def _differs(before: int, after: int, *condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition that a row of files lasts at one of two positions only.

    What no index has is written so that SQLite looks for none; *condition* belongs to both alternatives.
    """
    first, gone = files.c.first_run_id, files.c.gone_run_id
    is_new = and_(*condition, first > before, first <= after, func.coalesce(gone, after + 1) > after)
    is_old = and_(*condition, gone > before, gone <= after, first + 0 <= before)
    return or_(is_new, is_old)


def list_versions(database: Reader, job_id: int, path: bytes) -> list[Version]:
    """List the versions of a file, whose path is relative to the root, oldest first."""
    directory, _, name = path.rpartition(b"/")
    first, gone = runs.alias(), runs.alias()
    instants = (first.c.finished_at.label("seen_at"), gone.c.finished_at.label("gone_at"))
    query = (
        select(files.c.first_run_id, files.c.gone_run_id, *STAT_COLUMNS, *instants)
        .join(directories, files.c.folder_id == directories.c.id)
        .outerjoin(first, first.c.id == files.c.first_run_id)
        .outerjoin(gone, gone.c.id == files.c.gone_run_id)
        .where(directories.c.job_id == job_id, directories.c.path_digest == digest_path(directory))
        .where(files.c.name == name)
        .order_by(files.c.first_run_id)
    )
    with database.read() as connection:
        unsaved = _first_unsaved(connection, job_id)
        return [
            Version(
                first_run=row.first_run_id,
                gone_run=row.gone_run_id if row.gone_run_id != unsaved else None,
                size_bytes=row.size_bytes,
                mtime_ns=read_stat(row.size_bytes, row.mtime_ns, row.mtime_exact)[1],
                seen_at=row.seen_at,
                gone_at=row.gone_at,
            )
            for row in connection.execute(query.where(files.c.first_run_id < unsaved))
        ]


def count_directories(database: Reader, job_id: int, position: int, under: bytes = b"") -> list[FolderCount]:
    """Count the files directly in each directory that contains any, at a position."""
    # A sum in SQLite overflows at 64 bits.
    upper = files.c.size_bytes.bitwise_rshift(literal_column("32"))
    lower = files.c.size_bytes.bitwise_and(2**32 - 1)
    query = (
        select(directories.c.path, func.count(), func.sum(upper), func.sum(lower))
        .join(directories, files.c.folder_id == directories.c.id)
        # Without the files' own job, by whose index SQLite would read them in any order.
        .where(directories.c.job_id == job_id, *_at(files, None, position), *_below(under))
        .group_by(directories.c.id, directories.c.path)
        .order_by(directories.c.path)
    )
    with database.read() as connection:
        return [
            FolderCount(path=path, files=count, size_bytes=None if low is None else (int(high) << 32) + int(low))
            for path, count, high, low in connection.execute(query)
        ]


def has_directory(database: Reader, job_id: int, path: bytes) -> bool:
    """Return whether any file was ever found below a directory."""
    query: Select[Any] = select(directories.c.id).where(directories.c.job_id == job_id, *_below(path)).limit(1)
    with database.read() as connection:
        saved = files.c.first_run_id < _first_unsaved(connection, job_id)
        has_files = exists().where(files.c.folder_id == directories.c.id, saved)
        return connection.execute(query.where(has_files)).first() is not None


def _first_unsaved(connection: Connection, job_id: int) -> int:
    """Return the number of the running run, which may have written files already, or one that no run has."""
    running = select(runs.c.id).where(runs.c.job_id == job_id, runs.c.status == Status.RUNNING.value)
    return int(connection.execute(running).scalar() or 2**63 - 1)


def list_problems(database: Reader, run: Run) -> list[Problem]:
    """List the problems of a run by path."""
    if not run.problems:  # a run without a snapshot has none
        return []
    query = select(problems).where(*_at(problems, run.job_id, run.run_id)).order_by(problems.c.path)
    with database.read() as connection:
        return [Problem(path=row.path, errno=row.errno, text=row.text) for row in connection.execute(query)]


def _at(table: Table, job_id: int | None, position: int) -> tuple[ColumnElement[bool], ...]:
    lasts = or_(table.c.gone_run_id.is_(None), table.c.gone_run_id > position)
    of_job = () if job_id is None else (table.c.job_id == job_id,)
    return *of_job, table.c.first_run_id <= position, lasts


def _below(directory: bytes) -> tuple[ColumnElement[bool], ...]:
    if not directory:
        return ()
    path = directories.c.path
    return (or_(path == directory, and_(path > directory + b"/", path < directory + _AFTER_SLASH)),)
