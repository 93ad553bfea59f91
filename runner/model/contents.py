"""What was in a tree, as it is asked for."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One state of a file: from the run that first saw it so until the one that no longer did.

    Attributes:
        first_run: Number of the run that first saw it so.
        gone_run: Number of the run that no longer did; None while it is so.
        size_bytes: Its size; None where not known.
        mtime_ns: Its modification time, nanoseconds since the epoch; None likewise.
        seen_at: When the first of them finished; None if that run has been pruned.
        gone_at: When the last of them did; None likewise, or while it is so.
    """

    first_run: int
    gone_run: int | None
    size_bytes: int | None
    mtime_ns: int | None
    seen_at: datetime | None
    gone_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderCount:
    """How much lies in a folder.

    Attributes:
        path: Relative to the root, bytes; empty for the root.
        files: How many found files.
        size_bytes: Their size together, as far as it is known; None where no size is.
    """

    path: bytes
    files: int
    size_bytes: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderChange:
    """How what lies in a folder moved.

    Attributes:
        path: Relative to the root, bytes; empty for the root.
        old_files: How many found files lay there.
        new_files: How many do.
        old_size_bytes: Their size together, as far as it is known; None where no size is.
        new_size_bytes: The same now.
        added: How many of the new ones were not there.
        removed: How many of the old ones no longer are.
        modified: How many changed.
    """

    path: bytes
    old_files: int
    new_files: int
    old_size_bytes: int | None
    new_size_bytes: int | None
    added: int
    removed: int
    modified: int
