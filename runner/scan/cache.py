"""The cache file of an incremental scan, which can be rebuilt at any time.

It stores for each directory how it was listed, its stamps then, and whether they can be relied on. Losing it costs one
full scan, so it is written whole and renamed, but not flushed to disk; a checksum detects a torn file.
"""

from __future__ import annotations

import marshal
import os
import time
from binascii import crc32
from contextlib import suppress

from runner.model.errors import reason_of
from runner.model.links import create_file, open_own_file, open_parent
from runner.scan.snapshot import dump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from runner.scan.match import Selecting

    # Everything that must be equal for a cache to be usable.
    Key: TypeAlias = tuple[int, bytes, tuple[str, ...], tuple[str, ...], bool, str, bool, tuple[int, ...]]

NOTHING = "there is no earlier incremental scan of this tree"
_DAMAGED = "what was remembered of it is damaged"
_VERSION = 3
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Clock:
    """The clock at the start of a scan.

    Attributes:
        boot: Identifier of this boot; empty if unknown.
        now_ns: Nanoseconds since the epoch, by the clock that stamps files.
        ahead_ns: Lead of that clock over the one that nobody can set; a backward step decreases it.
    """

    def __init__(self) -> None:
        try:
            with open(_BOOT_ID, encoding="ascii") as file:  # noqa: PTH123  as light as it gets
                self.boot = file.read().strip()
        except FileNotFoundError:
            self.boot = ""
        self.now_ns = time.time_ns()
        # Continues during suspension, like the clock that stamps files.
        self.ahead_ns = self.now_ns - time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Cache:
    """What an earlier scan stored.

    Attributes:
        key: See :func:`key_of`.
        boot: The boot in which it was made.
        ahead_ns: Maximum lead of the clock since the last full scan; see :class:`Clock`.
        full_at_ns: Start of the last full scan, nanoseconds since the epoch.
        settled: For each directory 1 if any later change of its list must change its stamps, else 0.
        part: The encoded part that covers the tree.
        counts: Directories read, entries listed and files found.
        digest: Of all findings; see :class:`~runner.scan.snapshot.Snapshot`.

    Raises:
        TypeError: If a value is missing or unknown.
    """

    key: Key
    boot: str
    ahead_ns: int
    full_at_ns: int
    settled: bytes
    part: bytes
    counts: tuple[int, int, int]
    digest: bytes

    def __init__(self, **values: Any) -> None:
        if values.keys() != Cache.__annotations__.keys():
            raise TypeError
        vars(self).update(values)


def key_of(root: bytes, selection: Selecting) -> Key:
    """Return what must be equal for a cache to be usable; the user and groups decide what can be read."""
    return (
        _VERSION,
        root,
        selection.patterns,
        selection.excludes,
        selection.ignore_case,
        selection.track,
        selection.one_file_system,
        (os.geteuid(), os.getegid(), *sorted(os.getgroups())),
    )


def load(path: bytes) -> Cache | str:
    """Load a cache, or return why there is no reliable one."""
    try:
        with open_parent(path) as (directory, name), os.fdopen(open_own_file(directory, name), "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return NOTHING
    except OSError as error:
        return f"what was remembered of it can't be read: {reason_of(error)}"
    if crc32(content[4:]).to_bytes(4, "big") != content[:4]:
        return _DAMAGED
    try:
        return Cache(**marshal.loads(memoryview(content)[4:]))  # noqa: S302  checked above
    except (EOFError, TypeError, ValueError):  # of another version
        return _DAMAGED


def store(path: bytes, cache: Cache) -> None:
    """Store a cache for the next scan; after an OSError the earlier one remains."""
    content = dump(vars(cache))
    with open_parent(path, create=True) as (directory, name):
        partial = name + b".partial"  # always the same name, so that one left by a killed scan is removed
        with suppress(FileNotFoundError):
            os.unlink(partial, dir_fd=directory)
        try:
            with os.fdopen(create_file(directory, partial), "wb") as file:
                file.write(crc32(content).to_bytes(4, "big") + content)
            os.replace(partial, name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            with suppress(OSError):
                os.unlink(partial, dir_fd=directory)
            raise
