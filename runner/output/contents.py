"""What was in a tree: a file's life, and counts by folder, as records and as tables."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from rich.console import RenderableType
from rich.text import Text

from runner.model.contents import FolderChange, FolderCount, Version
from runner.model.runs import Change, ChangeKind
from runner.model.units import format_bytes, format_instant
from runner.output.grid import Cell, Column, Grid
from runner.output.records import Record, exact, modified_at
from runner.output.tables import CHANGE_MARKS, clock, count_cell, size_cell
from runner.output.text import printable

VERSION_KEYS = ("first_run", "seen_at", "gone_run", "gone_at", "size_bytes", "modified_at", "mtime_ns")
COUNT_KEYS = ("path", "files", "size_bytes", "path_base64")
MOVE_KEYS = (
    *("path", "old_files", "new_files", "old_size_bytes", "new_size_bytes", "added", "removed", "modified"),
    "path_base64",
)


def version_record(version: Version) -> Record:
    """Give one state of a file; ``gone_run`` is the run that no longer saw it so, null while it is so."""
    instant = modified_at(version.mtime_ns)
    return {
        "first_run": version.first_run,
        "seen_at": None if version.seen_at is None else format_instant(version.seen_at),
        "gone_run": version.gone_run,
        "gone_at": None if version.gone_at is None else format_instant(version.gone_at),
        "size_bytes": version.size_bytes,
        "modified_at": None if instant is None else format_instant(instant),
        "mtime_ns": version.mtime_ns,
    }


def versions_table(versions: Sequence[Version]) -> RenderableType:
    """Lay out what became of a file: a line for each time something happened to it."""
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
    columns = {
        "mark": Column(cells=[CHANGE_MARKS[kind] for kind, _, _, _ in rows]),
        "what": Column(cells=[Cell(kind.value) for kind, _, _, _ in rows]),
        "run": Column(header="run", cells=[Cell(str(run)) for _, run, _, _ in rows], right=True),
        "at": Column(header="at", cells=[Cell(clock(at)) for _, _, at, _ in rows]),
        "size": Column(
            header="size",
            cells=[size_cell(None if version is None else version.size_bytes) for *_, version in rows],
            right=True,
        ),
        "modified": Column(
            header="modified",
            cells=[Cell(clock(modified_at(None if version is None else version.mtime_ns))) for *_, version in rows],
        ),
    }
    return Grid(columns=columns, layouts=[[*columns], ["mark", "run", "at", "size"]])


def _removal(version: Version) -> list[tuple[ChangeKind, int, datetime | None, Version | None]]:
    if version.gone_run is None:
        return []
    return [(ChangeKind.REMOVED, version.gone_run, version.gone_at, None)]


def count_record(count: FolderCount) -> Record:
    """Give how much lies in a folder; the root itself is the empty path."""
    path, path_base64 = exact(count.path)
    return {"path": path, "files": count.files, "size_bytes": count.size_bytes, "path_base64": path_base64}


def counts_table(counts: Sequence[FolderCount]) -> RenderableType:
    """Lay out counts by folder, and their sums."""
    if not counts:
        return Text("no files", style="dim")
    sizes = [count.size_bytes for count in counts if count.size_bytes is not None]
    everything = FolderCount(
        path=b"", files=sum(count.files for count in counts), size_bytes=sum(sizes) if sizes else None
    )
    rows = [*counts, everything]
    columns = {
        "files": Column(header="files", cells=[count_cell(row.files) for row in rows], right=True),
        "size": Column(header="size", cells=[Cell(format_bytes(row.size_bytes)) for row in rows], right=True),
        "folder": Column(
            header="folder",
            cells=[*(Cell(printable(count.path or b".")) for count in counts), Cell("all", "dim")],
            least=24,
            fold=True,
        ),
    }
    return Grid(columns=columns, layouts=[[*columns]])


def nothing_changed() -> RenderableType:
    """Say that nothing did."""
    return Text("no changes", style="dim")


def move_record(move: FolderChange) -> Record:
    """Give how a folder moved; the root itself is the empty path."""
    path, path_base64 = exact(move.path)
    return {
        "path": path,
        "old_files": move.old_files,
        "new_files": move.new_files,
        "old_size_bytes": move.old_size_bytes,
        "new_size_bytes": move.new_size_bytes,
        "added": move.added,
        "removed": move.removed,
        "modified": move.modified,
        "path_base64": path_base64,
    }


def change_counts(changes: Sequence[Change]) -> RenderableType:
    """Return the line that ends a list of changes: how many there are of each kind."""
    counts = Counter(change.kind for change in changes)
    return Text(", ".join(f"{counts[kind]:,} {kind.value}" for kind in ChangeKind))


def moves_table(moves: Sequence[FolderChange]) -> RenderableType:
    """Lay out how folders moved; nothing where none did."""
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

    columns = {
        "changes": Column(header="changes", cells=[changed(move) for move in moves], right=True),
        "before": Column(header="files before", cells=[count_cell(move.old_files) for move in moves], right=True),
        "after": Column(header="after", cells=[count_cell(move.new_files) for move in moves], right=True),
        "size": Column(
            header="size before", cells=[Cell(format_bytes(move.old_size_bytes)) for move in moves], right=True
        ),
        "now": Column(header="after", cells=[Cell(format_bytes(move.new_size_bytes)) for move in moves], right=True),
        "folder": Column(
            header="folder", cells=[Cell(printable(move.path or b".")) for move in moves], least=24, fold=True
        ),
    }
    return Grid(columns=columns, layouts=[[*columns], ["changes", "before", "after", "folder"], ["changes", "folder"]])
