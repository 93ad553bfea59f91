"""Counts by folder, rolled up to a depth."""

from collections.abc import Iterable

from runner.model.contents import FolderChange, FolderCount
from runner.model.runs import Change, ChangeKind


def cut(path: bytes, depth: int) -> bytes:
    """Cut a folder's path to its first names, as many as the depth."""
    return b"/".join(path.split(b"/")[:depth]) if depth else b""


def roll_up(counts: Iterable[FolderCount], depth: int) -> list[FolderCount]:
    """Add what lies deeper to the folder at the depth above it.

    Args:
        counts: What lies directly in each folder.
        depth: How many names a folder's path may have; 0 leaves the root alone.

    Returns:
        In the order of paths; their sums are those of what was given.
    """
    rolled: dict[bytes, FolderCount] = {}
    for count in counts:
        path = cut(count.path, depth)
        before = rolled.get(path, FolderCount(path=path, files=0, size_bytes=None))
        sizes = [size for size in (before.size_bytes, count.size_bytes) if size is not None]
        rolled[path] = FolderCount(
            path=path, files=before.files + count.files, size_bytes=sum(sizes) if sizes else None
        )
    return [rolled[path] for path in sorted(rolled)]


def compare_folders(
    before: Iterable[FolderCount], after: Iterable[FolderCount], changes: Iterable[Change], depth: int
) -> list[FolderChange]:
    """Tell how folders moved between two positions; those in which nothing did are left out.

    Args:
        before: What lay directly in each folder.
        after: What does.
        changes: The files that differ.
        depth: As for :func:`roll_up`.
    """
    old = {count.path: count for count in roll_up(before, depth)}
    new = {count.path: count for count in roll_up(after, depth)}
    kinds: dict[bytes, dict[ChangeKind, int]] = {}
    for change in changes:
        of_folder = kinds.setdefault(cut(change.path.rpartition(b"/")[0], depth), dict.fromkeys(ChangeKind, 0))
        of_folder[change.kind] += 1
    nothing = FolderCount(path=b"", files=0, size_bytes=None)
    return [
        FolderChange(
            path=path,
            old_files=old.get(path, nothing).files,
            new_files=new.get(path, nothing).files,
            old_size_bytes=old.get(path, nothing).size_bytes,
            new_size_bytes=new.get(path, nothing).size_bytes,
            added=of_folder[ChangeKind.ADDED],
            removed=of_folder[ChangeKind.REMOVED],
            modified=of_folder[ChangeKind.MODIFIED],
        )
        for path, of_folder in sorted(kinds.items())
    ]
