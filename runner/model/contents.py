"""Versions of files and counts by directory."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One state of a file: from the run that first saw it so until the one that no longer did.

    Attributes:
        first_run: Number of the run that first saw it so.
        gone_run: Number of the run that no longer did; None while it is so.
        size_bytes: Its size; None where not known.
        mtime_ns: Its modification time, nanoseconds since the epoch; None if unknown.
        seen_at: When the first of them finished; None if that run has been pruned.
        gone_at: When the last of them finished; None if it has been pruned, or while the file is so.
    """

    first_run: int
    gone_run: int | None
    size_bytes: int | None
    mtime_ns: int | None
    seen_at: datetime | None
    gone_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderCount:
    """The number and size of the files in a directory.

    Attributes:
        path: Relative to the root, bytes; empty for the root.
        files: The number of found files.
        size_bytes: Their total known size; None if no size is known.
    """

    path: bytes
    files: int
    size_bytes: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderChange:
    """The changes in a directory.

    Attributes:
        path: Relative to the root, bytes; empty for the root.
        old_files: The number of found files before.
        new_files: The number now.
        old_size_bytes: Their total known size; None if no size is known.
        new_size_bytes: The same now.
        added: The number of added files.
        removed: The number of removed files.
        modified: The number of modified files.
    """

    path: bytes
    old_files: int
    new_files: int
    old_size_bytes: int | None
    new_size_bytes: int | None
    added: int
    removed: int
    modified: int
