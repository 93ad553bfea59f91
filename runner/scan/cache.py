"""What an incremental scan remembers from one time to the next: a file that can be rebuilt, no history.

It says of each folder how it was listed and which stamps it had then, and of how many of them that can be relied on.
Losing it costs a full scan and nothing else, so it is written whole and renamed, but not forced to the disk; a checksum
tells a torn one.
"""

from __future__ import annotations

import marshal
import os
import time
from binascii import crc32
from contextlib import suppress

from runner.model.errors import reason_of
from runner.model.links import create_file, open_own_file, open_parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from runner.scan.match import Selecting

    # Everything that has to be the same for a cache to be of use.
    Key: TypeAlias = tuple[int, bytes, tuple[str, ...], tuple[str, ...], bool, str, bool, tuple[int, ...]]

NOTHING = "there is no earlier incremental scan of this tree"
_DAMAGED = "what was remembered of it is damaged"
_VERSION = 1
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Clock:
    """The clock as a scan finds it at its start.

    Attributes:
        boot: Names the boot of this machine; empty where nothing does.
        now_ns: Nanoseconds since the epoch, by the clock that stamps files.
        ahead_ns: How far that clock is ahead of the one that nobody can set; less than before after a backward step.
    """

    __slots__ = ("ahead_ns", "boot", "now_ns")

    def __init__(self) -> None:
        try:
            with open(_BOOT_ID, encoding="ascii") as file:  # noqa: PTH123  as light as it gets
                self.boot = file.read().strip()
        except FileNotFoundError:
            self.boot = ""
        self.now_ns = time.time_ns()
        # Goes on during suspension, as the clock that stamps files does.
        self.ahead_ns = self.now_ns - time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Cache:
    """What an earlier scan left.

    Args:
        key: See :func:`key_of`.
        boot: The boot in which it was made.
        ahead_ns: The most by which the clock has been ahead since the last full scan; see :class:`Clock`.
        full_at_ns: When the last full scan began, nanoseconds since the epoch.
        settled: For each folder 1 if its stamps will tell any later change of its list, else 0.
        part: The encoded part that is the whole tree.
        counts: Folders read, entries listed and files found.
        digest: That of all findings; see :func:`~runner.scan.snapshot.digest_findings`.
    """

    __slots__ = ("ahead_ns", "boot", "counts", "digest", "full_at_ns", "key", "part", "settled")

    def __init__(
        self,
        *,
        key: Key,
        boot: str,
        ahead_ns: int,
        full_at_ns: int,
        settled: bytes,
        part: bytes,
        counts: tuple[int, int, int],
        digest: bytes,
    ) -> None:
        self.key = key
        self.boot = boot
        self.ahead_ns = ahead_ns
        self.full_at_ns = full_at_ns
        self.settled = settled
        self.part = part
        self.counts = counts
        self.digest = digest


def key_of(root: bytes, selection: Selecting) -> Key:
    """Give everything that has to be the same for a cache to be of use; who asks decides what can be read."""
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
    """Load what an earlier scan left, or say why there is nothing that can be relied on."""
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
        key, boot, ahead_ns, full_at_ns, settled, part, counts, digest = marshal.loads(memoryview(content)[4:])  # noqa: S302
    except (EOFError, TypeError, ValueError):  # of another version
        return _DAMAGED
    return Cache(
        key=key,
        boot=boot,
        ahead_ns=ahead_ns,
        full_at_ns=full_at_ns,
        settled=settled,
        part=part,
        counts=counts,
        digest=digest,
    )


def store(path: bytes, cache: Cache) -> None:
    """Leave something for the next scan.

    Raises:
        OSError: If it can't be written; what was there before stays.
    """
    content = marshal.dumps(
        (
            cache.key,
            cache.boot,
            cache.ahead_ns,
            cache.full_at_ns,
            cache.settled,
            cache.part,
            cache.counts,
            cache.digest,
        )
    )
    with open_parent(path, create=True) as (directory, name):
        partial = name + b".partial"  # always the same, so that one that a killed scan left is removed
        with suppress(FileNotFoundError):
            os.unlink(partial, dir_fd=directory)
        try:
            with os.fdopen(create_file(directory, partial), "wb") as file:
                file.write(crc32(content).to_bytes(4, "big"))
                file.write(content)
            os.replace(partial, name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            with suppress(OSError):
                os.unlink(partial, dir_fd=directory)
            raise
