"""Versions of a file and counts by directory, as records and as tables."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from rich.console import RenderableType
from rich.text import Text

from runner.model.contents import FolderChange, FolderCount, Version
from runner.model.runs import Change, ChangeKind
from runner.model.units import format_bytes
from runner.output.cells import CHANGE_MARKS, clock, count_cell, size_cell
from runner.output.grid import Cell, Column, Grid
from runner.output.records import Record, encode, modified_at
from runner.output.text import printable

VERSION_KEYS = ("first_run", "seen_at", "gone_run", "gone_at", "size_bytes", "modified_at", "mtime_ns")
COUNT_KEYS = ("path", "files", "size_bytes", "path_base64")
MOVE_KEYS = (
    *("path", "old_files", "new_files", "old_size_bytes", "new_size_bytes", "added", "removed", "modified"),
    "path_base64",
)


def version_record(version: Version) -> Record:
    """Return one version of a file; ``gone_run`` is null while the file is so."""
    return encode(version, VERSION_KEYS, modified_at=modified_at(version.mtime_ns))


def versions_table(versions: Sequence[Version]) -> RenderableType:
    """Render the versions of a file: a line for each change."""
    rows: list[tuple[ChangeKind, int, datetime | None, Version | None]] = []
    last: Version | None = None
    for version in versions:
        kind = ChangeKind.ADDED if last is None or last.gone_run != version.first_run else ChangeKind.MODIFIED
        if last is not None and kind is ChangeKind.ADDED:
            rows += _removal(last)
        rows.append((kind, version.first_run, version.seen_at, version))
        last = version
    if last is not None:
        rows += _removal(last)
    columns = [
        Column("", lambda row: CHANGE_MARKS[row[0]]),
        Column("", lambda row: Cell(row[0].value), priority=1),
        Column("run", lambda row: Cell(str(row[1])), right=True),
        Column("at", lambda row: Cell(clock(row[2]))),
        Column("size", lambda row: size_cell(row[3] and row[3].size_bytes), right=True),
        Column("modified", lambda row: Cell(clock(modified_at(row[3] and row[3].mtime_ns))), priority=1),
    ]
    return Grid(rows=rows, columns=columns)


def _removal(version: Version) -> list[tuple[ChangeKind, int, datetime | None, Version | None]]:
    if version.gone_run is None:
        return []
    return [(ChangeKind.REMOVED, version.gone_run, version.gone_at, None)]


def count_record(count: FolderCount) -> Record:
    """Return the number and size of the files in a directory; the root itself is the empty path."""
    return encode(count, COUNT_KEYS)


def counts_table(counts: Sequence[FolderCount]) -> RenderableType:
    """Render counts by directory, and their sums."""
    if not counts:
        return Text("no files", style="dim")
    sizes = [count.size_bytes for count in counts if count.size_bytes is not None]
    everything = FolderCount(
        path=b"", files=sum(count.files for count in counts), size_bytes=sum(sizes) if sizes else None
    )
    columns = [
        Column("files", lambda row: count_cell(row[0].files), right=True),
        Column("size", lambda row: Cell(format_bytes(row[0].size_bytes)), right=True),
        Column("folder", lambda row: row[1], least=24, fold=True),
    ]
    rows = [*((count, Cell(printable(count.path or b"."))) for count in counts), (everything, Cell("all", "dim"))]
    return Grid(rows=rows, columns=columns)


def nothing_changed() -> RenderableType:
    """Return the line for no changes."""
    return Text("no changes", style="dim")


def move_record(move: FolderChange) -> Record:
    """Return the changes in a directory; the root itself is the empty path."""
    return encode(move, MOVE_KEYS)


def change_counts(changes: Sequence[Change]) -> RenderableType:
    """Return the last line of a list of changes: the number of each kind."""
    counts = Counter(change.kind for change in changes)
    return Text(", ".join(f"{counts[kind]:,} {kind.value}" for kind in ChangeKind))


def moves_table(moves: Sequence[FolderChange]) -> RenderableType:
    """Render the changes by directory."""
    if not moves:
        return nothing_changed()
    marks = {kind: CHANGE_MARKS[kind].text for kind in ChangeKind}

    def changed(move: FolderChange) -> Cell:
        counts = {
            ChangeKind.ADDED: move.added,
            ChangeKind.REMOVED: move.removed,
            ChangeKind.MODIFIED: move.modified,
        }
        return Cell(" ".join(f"{marks[kind]}{count:,}" for kind, count in counts.items() if count))

    columns = [
        Column("changes", changed, right=True),
        Column("files before", lambda move: count_cell(move.old_files), right=True, priority=2),
        Column("after", lambda move: count_cell(move.new_files), right=True, priority=2),
        Column("size before", lambda move: Cell(format_bytes(move.old_size_bytes)), right=True, priority=1),
        Column("after", lambda move: Cell(format_bytes(move.new_size_bytes)), right=True, priority=1),
        Column("folder", lambda move: Cell(printable(move.path or b".")), least=24, fold=True),
    ]
    return Grid(rows=moves, columns=columns)
