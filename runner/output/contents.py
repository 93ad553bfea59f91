"""The files of a tree, their changes and versions, and counts by directory, as tables."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model.contents import FolderChange, FolderCount, Version
from runner.model.runs import Change, ChangeKind, FoundFile
from runner.model.units import format_bytes
from runner.output import cells
from runner.output.cells import Cell, Column
from runner.output.grid import Grid
from runner.output.records import Record, encode, keys_of, modified_at
from runner.output.text import printable

VERSION_KEYS = ("first_run", "seen_at", "gone_run", "gone_at", "size_bytes", "modified_at", "mtime_ns")
COUNT_KEYS = keys_of(FolderCount)
MOVE_KEYS = keys_of(FolderChange)
count_record = move_record = encode
# Listings are rendered in parts of this many rows, so that a million files need little memory.
_PART = 5_000
_DIRECTORY = Column("directory", "path", least=24, fold=True)


def files_table(files: Iterable[FoundFile], *, doubtful: bool = False) -> Iterator[RenderableType]:
    """Yield tables of files for ``files``, in parts, unknown ones marked if *doubtful*; none without files."""
    columns = [
        Column("size", "size_bytes", right=True, width=10, priority=3),
        Column("modified", lambda file: modified_at(file.mtime_ns), width=19, priority=2),
        Column("since run", lambda file: Cell(str(file.first_run), "dim"), right=True, width=9, priority=1),
        *([Column("", lambda file: Cell("?" if file.unknown else "", "yellow"), width=1)] if doubtful else []),
        Column("path", "path", least=24, width=24, fold=True),
    ]
    return _parts(files, columns)


def changes_table(changes: Iterable[Change]) -> Iterator[RenderableType]:
    """Yield tables of changed files for ``changes``, in parts; none without changes."""

    def path(change: Change) -> Cell:
        return Cell(printable(change.path), cells.CHANGE_MARKS[change.kind].style)

    def size(size_bytes: int | None, other: int | None) -> str | None:
        return None if size_bytes is None else format_bytes(size_bytes, other)

    def before(change: Change) -> str | None:
        return size(change.old_size_bytes, change.new_size_bytes)

    def after(change: Change) -> str | None:
        return size(change.new_size_bytes, change.old_size_bytes)

    columns = [
        Column("", lambda change: cells.CHANGE_MARKS[change.kind]),
        Column("before", before, right=True, width=10, priority=1),
        Column("after", after, right=True, width=10, priority=1),
        Column("path", path, least=24, width=24, fold=True),
    ]
    return _parts(changes, columns)


def changes_view(changes: Iterable[Change]) -> Iterator[RenderableType]:
    """Yield the tables of :func:`changes_table`, then the number of changes of each kind."""
    counts = Counter[ChangeKind]()

    def counted() -> Iterator[Change]:
        for change in changes:
            counts[change.kind] += 1
            yield change

    yield from changes_table(counted())
    yield change_counts(counts)


def _parts(rows: Iterable[Any], columns: Sequence[Column]) -> Iterator[Grid]:
    rows, header = iter(rows), True
    while part := list(islice(rows, _PART)):
        yield Grid(rows=part, columns=columns, header=header)
        header = False


def version_record(version: Version) -> Record:
    """Return one version of a file; ``gone_run`` is null while the file is so."""
    return encode(version, VERSION_KEYS, modified_at=modified_at(version.mtime_ns))


def version_rows(versions: Sequence[Version]) -> list[Record]:
    """List the changes of a file: the kind, run and instant of each, and the version that began with it."""
    rows: list[Record] = []
    gone_run = None
    for version in versions:
        kind = ChangeKind.MODIFIED if gone_run == version.first_run else ChangeKind.ADDED
        if kind is ChangeKind.MODIFIED:
            rows.pop()  # the file did not go
        rows.append({"kind": kind, "run": version.first_run, "at": version.seen_at, **version_record(version)})
        gone_run = version.gone_run
        if gone_run is not None:
            rows.append({"kind": ChangeKind.REMOVED, "run": gone_run, "at": version.gone_at})
    return rows


def versions_table(versions: Sequence[Version]) -> RenderableType:
    """Render the versions of a file: a line for each change."""
    columns = [
        Column("", lambda row: cells.CHANGE_MARKS[row["kind"]]),
        Column("", "kind", priority=1),
        Column("run", lambda row: str(row["run"]), right=True),
        Column("at", "at"),
        Column("size", "size_bytes", right=True),
        Column("modified", lambda row: modified_at(row.get("mtime_ns")), priority=1),
    ]
    return Grid(rows=version_rows(versions), columns=columns)


def counts_table(counts: Sequence[FolderCount]) -> RenderableType:
    """Render counts by directory, and their sums."""
    sizes = [count.size_bytes for count in counts if count.size_bytes is not None]
    total = {
        "files": sum(count.files for count in counts),
        "size_bytes": sum(sizes) if sizes else None,
        "path": Cell("all", "dim"),
    }
    columns = [Column("files", "files", right=True), Column("size", "size_bytes", right=True), _DIRECTORY]
    return Grid(rows=[*counts, total] if counts else [], columns=columns, empty="no files")


def change_counts(counts: Mapping[ChangeKind, int]) -> RenderableType:
    """Return the last line of a list of changes: the number of each kind."""
    if not any(counts.values()):
        return Text("no changes", style="dim")
    return Text(", ".join(f"{counts[kind]:,} {kind}" for kind in ChangeKind))


def moves_table(moves: Sequence[FolderChange]) -> RenderableType:
    """Render the changes by directory; nothing without changes."""
    columns = [
        Column("changes", cells.changes, right=True),
        Column("files before", "old_files", right=True, priority=2),
        Column("after", "new_files", right=True, priority=2),
        Column("size before", "old_size_bytes", right=True, priority=1),
        Column("after", "new_size_bytes", right=True, priority=1),
        _DIRECTORY,
    ]
    return Grid(rows=moves, columns=columns) if moves else Group()
