"""The cache file of an incremental scan, which can be rebuilt at any time.

It contains the last snapshot, with the stamps of each directory and whether they can be relied on. Losing it costs one
full scan, so it is written whole and renamed, but not flushed to disk; a checksum detects a torn file.
"""

from __future__ import annotations

import marshal
import os
import time
from binascii import crc32
from contextlib import suppress
from itertools import accumulate, chain

from runner.model.errors import reason_of
from runner.model.links import create_file, open_own_file, open_parent
from runner.scan.snapshot import Snapshot, dump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from runner.scan.match import Selecting

    # Everything that must be equal for a cache to be usable.
    Key: TypeAlias = tuple[int, bytes, tuple[str, ...], tuple[str, ...], bool, str, bool, tuple[int, ...]]

NOTHING = "there is no earlier incremental scan of this tree"
_DAMAGED = "what was remembered of it is damaged"
_VERSION = 3
_CHUNK = 1 << 20
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
        sizes: Of the encoded pieces of the snapshot, of one part that covers the tree.
        counts: Directories read, entries listed and files found.
        digest: Of the snapshot.

    Raises:
        TypeError: If a value is missing or unknown.
    """

    key: Key
    boot: str
    ahead_ns: int
    full_at_ns: int
    settled: bytes
    sizes: list[int]
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


def load(path: bytes) -> tuple[Cache, Snapshot] | str:
    """Load a cache and the snapshot in its file, or return why there is no reliable one."""
    try:
        with open_parent(path) as (directory, name), os.fdopen(open_own_file(directory, name), "rb") as file:
            checksum, computed = file.read(4), 0
            while chunk := file.read(_CHUNK):
                computed = crc32(chunk, computed)
            if computed.to_bytes(4, "big") != checksum:
                return _DAMAGED
            file.seek(4)
            cache = Cache(**marshal.load(file))  # noqa: S302  checked above
            offsets = accumulate(cache.sizes, initial=file.tell())
            pieces = list(zip(offsets, cache.sizes, strict=False))
            return cache, Snapshot(os.dup(file.fileno()), pieces, cache.counts, cache.digest)
    except FileNotFoundError:
        return NOTHING
    except OSError as error:
        return f"what was remembered of it can't be read: {reason_of(error)}"
    except (EOFError, TypeError, ValueError):  # of another version
        return _DAMAGED


def store(path: bytes, cache: Cache, snapshot: Snapshot) -> None:
    """Store a cache and its snapshot for the next scan; after an OSError the earlier one remains."""
    with open_parent(path, create=True) as (directory, name):
        partial = name + b".partial"  # always the same name, so that one left by a killed scan is removed
        with suppress(FileNotFoundError):
            os.unlink(partial, dir_fd=directory)
        try:
            with os.fdopen(create_file(directory, partial), "wb") as file:
                file.write(bytes(4))
                checksum = 0
                for content in chain([dump(vars(cache))], snapshot.encoded()):
                    checksum = crc32(content, checksum)
                    file.write(content)
                file.seek(0)
                file.write(checksum.to_bytes(4, "big"))
            os.replace(partial, name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            with suppress(OSError):
                os.unlink(partial, dir_fd=directory)
            raise
