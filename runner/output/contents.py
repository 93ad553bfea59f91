"""Versions of a file and counts by directory, as tables."""

from collections import Counter
from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from runner.model.contents import FolderChange, FolderCount, Version
from runner.model.runs import Change, ChangeKind
from runner.output.cells import CHANGE_MARKS, Cell, Column, changes_cell
from runner.output.grid import Grid
from runner.output.records import Record, encode, keys_of, modified_at

VERSION_KEYS = ("first_run", "seen_at", "gone_run", "gone_at", "size_bytes", "modified_at", "mtime_ns")
COUNT_KEYS = keys_of(FolderCount)
MOVE_KEYS = keys_of(FolderChange)
count_record = move_record = encode
_FOLDER = Column("folder", "path", least=24, fold=True)


def version_record(version: Version) -> Record:
    """Return one version of a file; ``gone_run`` is null while the file is so."""
    return encode(version, VERSION_KEYS, modified_at=modified_at(version.mtime_ns))


def versions_table(versions: Sequence[Version]) -> RenderableType:
    """Render the versions of a file: a line for each change."""
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
    columns = [
        Column("", lambda row: CHANGE_MARKS[row["kind"]]),
        Column("", "kind", priority=1),
        Column("run", lambda row: str(row["run"]), right=True),
        Column("at", "at"),
        Column("size", "size_bytes", right=True),
        Column("modified", lambda row: modified_at(row.get("mtime_ns")), priority=1),
    ]
    return Grid(rows=rows, columns=columns)


def counts_table(counts: Sequence[FolderCount]) -> RenderableType:
    """Render counts by directory, and their sums."""
    sizes = [count.size_bytes for count in counts if count.size_bytes is not None]
    total = {
        "files": sum(count.files for count in counts),
        "size_bytes": sum(sizes) if sizes else None,
        "path": Cell("all", "dim"),
    }
    columns = [Column("files", "files", right=True), Column("size", "size_bytes", right=True), _FOLDER]
    return Grid(rows=[*counts, total] if counts else [], columns=columns, empty="no files")


def nothing_changed() -> RenderableType:
    """Return the line for no changes."""
    return Text("no changes", style="dim")


def change_counts(changes: Sequence[Change]) -> RenderableType:
    """Return the last line of a list of changes: the number of each kind."""
    counts = Counter(change.kind for change in changes)
    return Text(", ".join(f"{counts[kind]:,} {kind}" for kind in ChangeKind))


def moves_table(moves: Sequence[FolderChange]) -> RenderableType:
    """Render the changes by directory."""
    columns = [
        Column("changes", changes_cell, right=True),
        Column("files before", "old_files", right=True, priority=2),
        Column("after", "new_files", right=True, priority=2),
        Column("size before", "old_size_bytes", right=True, priority=1),
        Column("after", "new_size_bytes", right=True, priority=1),
        _FOLDER,
    ]
    return Grid(rows=moves, columns=columns, empty="no changes")
