"""The contents of a tree: the files at any run, the changes between two runs, the versions of a file.

A position is the number of a run, or a number between runs; the state there is that of the last saved run of the job
up to it. What a run writes while it is saved lies behind all positions. Where *under* is given, only what is below this
directory, relative to the root, counts; empty for all.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, starmap
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    Table,
    and_,
    exists,
    func,
    literal_column,
    or_,
    select,
    union_all,
)

from runner.history.database import Reader
from runner.history.findings import digest_path
from runner.history.rows import STAT_COLUMNS, Stat, read_stat
from runner.history.tables import PATH_START, PATH_START_BYTES, directories, files, problems, runs
from runner.model.contents import ChangeCount, FolderCount, Version
from runner.model.runs import Change, ChangeKind, FoundFile, Problem, Run, Status
from runner.scan.snapshot import join_path, lies_in

_CHUNK = 10_000
# At most this many rows are held in memory, about 40 MB.
_MOST_ROWS = 100_000
# A directory's path with the byte after the slash sorts after all paths below the directory.
_AFTER_SLASH = b"0"
_UNKNOWN: Stat = (None, None)
# What happened to a file, its name, and its states before and after.
_Difference = tuple[ChangeKind, bytes, Stat, Stat]


def list_files(database: Reader, job_id: int, position: int, under: bytes = b"") -> Iterator[FoundFile]:
    """Yield the files of a job at a position, by directory and name, with bounded memory."""
    query = _select_files(job_id, position, under, files.c.first_run_id, *STAT_COLUMNS)
    with database.read() as connection:
        unreadable = _list_unreadable(connection, job_id, position)
        for path, *columns in connection.execute(query):
            yield _read_file(path, unreadable, *columns)


def list_names(
    database: Reader, job_id: int, position: int, under: bytes = b""
) -> Iterator[tuple[bytes, Sequence[bytes]]]:
    """Yield names of the files of :func:`list_files`, each time in one directory, with the prefix of their paths."""
    with database.read() as connection:
        for rows in connection.execute(_select_files(job_id, position, under)).partitions():
            for path, names in groupby(rows, itemgetter(0)):
                yield join_path(path, b""), [name for _, name in names]


def _select_files(job_id: int, position: int, under: bytes, *columns: ColumnElement[Any]) -> Select[Any]:
    """Select path, name and more of files by directory and name, in chunks.

    In the order of their index, directories are read one by one, each with its files, and nothing is sorted as a whole.
    """
    return (
        select(directories.c.path, files.c.name, *columns)
        .join(directories, files.c.folder_id == directories.c.id)
        .where(directories.c.job_id == job_id, *_at(files, None, position), *_below(under))
        .order_by(PATH_START, directories.c.path, files.c.name)
        .execution_options(yield_per=_CHUNK)
    )


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
        return [_read_file(directory, unreadable, *columns) for columns in connection.execute(query)]


def _list_unreadable(connection: Connection, job_id: int, position: int) -> set[bytes]:
    return set(connection.execute(select(problems.c.path).where(*_at(problems, job_id, position))).scalars())


def _read_file(directory: bytes, unreadable: set[bytes], name: bytes, first_run_id: int, *columns: Any) -> FoundFile:
    path = join_path(directory, name)
    return FoundFile(path, *read_stat(*columns), first_run_id, bool(unreadable) and lies_in(path, unreadable))


def list_changes(
    database: Reader,
    job_id: int,
    before: int,
    after: int,
    under: bytes = b"",
    *,
    within: Collection[bytes] | None = None,
) -> Iterator[Change]:
    """Yield the differences between two positions, by path; *within* limits them to those directly in some directories.

    A file that was added and removed between them, or changed and changed back, is no difference. Nor is a file whose
    size and time are unknown at one of them.
    """
    with database.read() as connection:
        above: list[_Directory] = []
        for directory in starmap(_Directory, _compare(connection, job_id, before, after, under, within)):
            while above and not directory.prefix.startswith(above[-1].prefix):
                yield from above.pop().changes_before(None)
            if above:
                yield from above[-1].changes_before(directory.prefix)
            above.append(directory)
        while above:
            yield from above.pop().changes_before(None)


class _Directory:
    """The changes in a directory by name; in the order of all paths, those below it come in between."""

    def __init__(self, prefix: bytes, differences: Iterator[_Difference]) -> None:
        self.prefix = prefix
        self._changes = (
            Change(kind=kind, path=prefix + name, old_size_bytes=old[0], new_size_bytes=new[0])
            for kind, name, old, new in differences
        )
        self._next = next(self._changes, None)

    def changes_before(self, path: bytes | None) -> Iterator[Change]:
        """Yield the changes before a path, or all that are left."""
        while self._next is not None and (path is None or self._next.path < path):
            yield self._next
            self._next = next(self._changes, None)


def count_changes(database: Reader, job_id: int, before: int, after: int, under: bytes = b"") -> list[ChangeCount]:
    """Count the differences between two positions directly in each directory, by its path; see :func:`list_changes`."""
    with database.read() as connection:
        found = _compare(connection, job_id, before, after, under, None)
        counts = {prefix[:-1]: Counter(kind for kind, *_ in differences) for prefix, differences in found}
    return [
        ChangeCount(path=path, **{kind.value: counts[path][kind] for kind in ChangeKind})
        for path in sorted(counts)
        if counts[path]
    ]


def _compare(
    connection: Connection, job_id: int, before: int, after: int, under: bytes, within: Collection[bytes] | None
) -> Iterator[tuple[bytes, Iterator[_Difference]]]:
    """Yield directories by their prefix, the path with a slash at its end, each with its differences by name.

    A moderate number of rows is found by the indexes of runs, and held. Otherwise the directories are found first, and
    the rows of a few at a time.
    """
    query = (
        select(directories.c.path, files.c.name, files.c.first_run_id, *STAT_COLUMNS)
        .join(directories, files.c.folder_id == directories.c.id)
        .order_by(files.c.folder_id, files.c.name, files.c.first_run_id)
        .execution_options(yield_per=_CHUNK)
    )
    bounds = [and_(column > before, column <= after) for column in (files.c.first_run_id, files.c.gone_run_id)]
    touched: Select[Any] | CompoundSelect[Any] = union_all(
        *(select(files.c.folder_id).where(files.c.job_id == job_id, bound) for bound in bounds)
    )
    chosen = select(directories.c.id).where(directories.c.job_id == job_id, *_below(under))
    if within is not None:
        chosen = chosen.where(directories.c.path_digest.in_(list(map(digest_path, within))))
    counted = select(func.count()).select_from(touched.limit(_MOST_ROWS).subquery())
    if connection.execute(counted).scalar_one() < _MOST_ROWS:
        # With the job in both alternatives, SQLite reads two index ranges, not all files.
        query = query.where(_differs(before, after, files.c.job_id == job_id))
        if under or within is not None:
            query = query.where((files.c.folder_id + 0).in_(chosen))  # a sum has no index
        yield from _group(connection.execute(query), before)
        return
    if under or within is not None:
        touched = select(files.c.folder_id).where(files.c.folder_id.in_(chosen), or_(*bounds))
    sizes = Counter(connection.execute(touched.execution_options(yield_per=_CHUNK)).scalars())
    found = (
        (join_path(path, b""), number) for number, path in connection.execute(chosen.add_columns(directories.c.path))
    )
    for batch in _batches(sorted(one for one in found if one[1] in sizes), sizes):
        rows = connection.execute(query.where(files.c.folder_id.in_(batch.values()), _differs(before, after)))
        if len(batch) > 1:
            yield from _group(rows, before)
        else:  # perhaps with more rows than may be held
            yield from ((prefix, _pair(rows, before)) for prefix in batch)


def _batches(found: Iterable[tuple[bytes, int]], sizes: Mapping[int, int]) -> Iterator[dict[bytes, int]]:
    """Yield the prefixes and numbers of directories in batches, each of at most a moderate number of rows or alone."""
    batch: dict[bytes, int] = {}
    n_rows = 0
    for prefix, number in found:
        n_rows += sizes[number]
        if batch and (n_rows > _MOST_ROWS or len(batch) == _CHUNK):
            yield batch
            batch, n_rows = {}, sizes[number]
        batch[prefix] = number
    if batch:
        yield batch


def _group(rows: Iterable[Any], before: int) -> Iterator[tuple[bytes, Iterator[_Difference]]]:
    """Yield the prefixes of the directories of rows, each with its differences."""
    found = {
        join_path(path, b""): list(_pair(of_directory, before)) for path, of_directory in groupby(rows, itemgetter(0))
    }
    for prefix in sorted(found):
        yield prefix, iter(found.pop(prefix))


def _pair(rows: Iterable[Any], before: int) -> Iterator[_Difference]:
    """Yield the differences of a directory from its rows, by name and run; a file has an old one, a new one or both."""
    old: tuple[bytes, Stat] | None = None
    for _, name, first_run_id, *columns in rows:
        stat = read_stat(*columns)
        if old is not None and old[0] != name:
            yield ChangeKind.REMOVED, *old, _UNKNOWN
            old = None
        if first_run_id <= before:
            old = name, stat
        elif old is None:
            yield ChangeKind.ADDED, name, _UNKNOWN, stat
        else:
            if stat != old[1] and _UNKNOWN not in (stat, old[1]):
                yield ChangeKind.MODIFIED, *old, stat
            old = None
    if old is not None:
        yield ChangeKind.REMOVED, *old, _UNKNOWN


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
    below = select(directories.c.id).where(directories.c.job_id == job_id, *_below(under))
    counts = (
        select(files.c.folder_id, func.count(), func.sum(upper), func.sum(lower))
        # Without the files' own job, by whose index SQLite would read them in any order.
        .where(files.c.folder_id.in_(below), *_at(files, None, position))
        .group_by(files.c.folder_id)
        .subquery()
    )
    query = (
        select(directories.c.path, *list(counts.c)[1:])
        .join(directories, counts.c.folder_id == directories.c.id)
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
    path, end = directories.c.path, directory + _AFTER_SLASH
    is_near = PATH_START.between(directory[:PATH_START_BYTES], end[:PATH_START_BYTES])  # for the index
    return is_near, or_(path == directory, and_(path > directory + b"/", path < end))
