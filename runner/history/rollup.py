"""Counts by directory, added up to a depth."""

from collections import Counter
from collections.abc import Iterable

from runner.model.contents import ChangeCount, FolderChange, FolderCount
from runner.model.runs import ChangeKind


def cut(path: bytes, depth: int) -> bytes:
    """Return the first *depth* names of a directory's path."""
    return b"/".join(path.split(b"/")[:depth]) if depth else b""


def roll_up(counts: Iterable[FolderCount], depth: int) -> list[FolderCount]:
    """Return the counts by path, with deeper directories added to their ancestor at the depth; 0 is the root."""
    rolled: dict[bytes, FolderCount] = {}
    for count in counts:
        path = cut(count.path, depth)
        before = rolled.get(path, FolderCount(path=path, files=0, size_bytes=None))
        sizes = [size for size in (before.size_bytes, count.size_bytes) if size is not None]
        size_bytes = sum(sizes) if sizes else None
        rolled[path] = FolderCount(path=path, files=before.files + count.files, size_bytes=size_bytes)
    return [rolled[path] for path in sorted(rolled)]


def compare_directories(
    before: Iterable[FolderCount], after: Iterable[FolderCount], changes: Iterable[ChangeCount], depth: int
) -> list[FolderChange]:
    """List the directories with changes between two positions, up to a depth as for :func:`roll_up`."""
    old = {count.path: count for count in roll_up(before, depth)}
    new = {count.path: count for count in roll_up(after, depth)}
    kinds: dict[bytes, Counter[ChangeKind]] = {}
    for change in changes:
        kinds.setdefault(cut(change.path, depth), Counter()).update(sum_changes([change]))
    nothing = FolderCount(path=b"", files=0, size_bytes=None)
    result = []
    for path, numbers in sorted(kinds.items()):
        was, now = old.get(path, nothing), new.get(path, nothing)
        result.append(
            FolderChange(
                path=path,
                old_files=was.files,
                new_files=now.files,
                old_size_bytes=was.size_bytes,
                new_size_bytes=now.size_bytes,
                **{kind.value: numbers[kind] for kind in ChangeKind},
            )
        )
    return result


def sum_changes(changes: Iterable[ChangeCount]) -> Counter[ChangeKind]:
    """Return the number of changes of each kind."""
    total = Counter[ChangeKind]()
    for change in changes:
        total.update({kind: getattr(change, kind.value) for kind in ChangeKind})
    return total


def keep_kind(change: ChangeCount, kind: ChangeKind) -> ChangeCount:
    """Return a count without the other kinds."""
    numbers = {each.value: getattr(change, each.value) if each is kind else 0 for each in ChangeKind}
    return ChangeCount(path=change.path, **numbers)
