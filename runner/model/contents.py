"""Versions of files and counts by directory; sizes are None where unknown."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One state of a file, from the run that first saw it so until the run that no longer did."""

    first_run: int
    gone_run: int | None  # None while it is so
    size_bytes: int | None
    mtime_ns: int | None  # since the epoch
    seen_at: datetime | None  # when the first run finished; None if it has been pruned
    gone_at: datetime | None  # when the last run finished; None likewise


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderCount:
    """The number and size of the found files in a directory."""

    path: bytes  # relative to the root; empty for the root
    files: int
    size_bytes: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderChange:
    """The changes in a directory: found files before and after, and the number that changed."""

    path: bytes  # relative to the root; empty for the root
    old_files: int
    new_files: int
    old_size_bytes: int | None
    new_size_bytes: int | None
    added: int
    removed: int
    modified: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedState:
    """The state of a tree that a run has saved, with the changes since the state before."""

    run_id: int
    finished_at: datetime
    changes: int
    runs: int = 1  # the number of saved runs since then, this one included


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeCount:
    """The number of changed files directly in a directory."""

    path: bytes  # relative to the root; empty for the root
    added: int
    removed: int
    modified: int
