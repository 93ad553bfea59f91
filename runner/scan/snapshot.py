"""What a scan found: rows of directories while they are read, and the snapshot of a whole tree.

A trial process imports this, but no dataclasses, enums, regular expressions or typing: together they take four times
as long to import as the interpreter to start. So its modules use plain classes and marshal.
"""

from __future__ import annotations

import marshal
from _blake2 import blake2b
from array import array
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
    from typing import Any, TypeAlias

    # Path that could not be read, error number and text.
    Trouble: TypeAlias = tuple[bytes, int, str]
    # Path of a directory, the names found in it, sorted and joined by NUL, and their stats as in a part.
    Finding: TypeAlias = tuple[bytes, bytes, bytes]

TYPE_CODE = "q"  # array: signed 64-bit

# A size or time that could not be read or is unreliable; no file has either value.
UNKNOWN = -(2**63)

# Row number of the parent, -1 for none, and number of entries.
PLACE = Struct("=qq")
# Device, inode, modification time and change time.
STAMPS = Struct("=QQqq")

# Begins packed stats if a time exceeds 64 bits; size, seconds and nanoseconds of each name follow.
_WIDE = (UNKNOWN, 0)
_SECOND_NS = 10**9


def dump(value: Any) -> bytes:
    """Encode plain data; raise MemoryError where marshal calls it unmarshallable, because there is no memory."""
    try:
        return marshal.dumps(value)
    except ValueError as error:
        raise MemoryError from error


class Part:
    """The directories read by one process, a row each; a parent's row precedes those of its subdirectories.

    A part may be read in several pieces with consecutive rows. All but the first can only be encoded and counted, until
    :func:`decode` joins them. A row contains a name instead of a path, which would take far more memory in a deep tree.

    Attributes:
        first_row: Number of rows in the pieces before.
        names: Name of each directory; for a row without a parent its path relative to the root.
        found: The found names of each directory, joined by NUL, in the order of their stats; without stats unsorted.
        stats: The :func:`pack_stats` of the found names; empty if only names are tracked.
        places: :data:`PLACE` of each directory, concatenated.
        stamps: :data:`STAMPS` of each directory, concatenated; empty if not requested.
        problems: What could not be read.
        unread: Paths of listed directories that were not read without being a problem: vanished, or on another file
            system.
        rest: Paths of subdirectories left unread on request.
    """

    __slots__ = ("first_row", "found", "names", "places", "problems", "rest", "stamps", "stats", "unread")

    def __init__(self, first_row: int = 0) -> None:
        self.first_row = first_row
        self.names: list[bytes] = []
        self.found: list[bytes] = []
        self.stats: list[bytes] = []
        self.places = bytearray()
        self.stamps = bytearray()
        self.problems: list[Trouble] = []
        self.unread: list[bytes] = []
        self.rest: list[bytes] = []

    def path(self, row: int) -> bytes:
        """Return a directory's path relative to the root; empty for the root."""
        names = []
        while row >= 0:
            names.append(self.names[row])
            row = PLACE.unpack_from(self.places, row * PLACE.size)[0]
        return b"/".join(reversed(names)).lstrip(b"/")  # the root's own name is empty

    def findings(self) -> Iterator[Finding]:
        """Yield path, found names and stats of each directory in which something was found."""
        for row, found in enumerate(self.found):
            if found:
                yield self.path(row), self.sorted_names(row), self.stats[row]

    def sorted_names(self, row: int) -> bytes:
        """Return a directory's found names, sorted and joined by NUL."""
        found = self.found[row]
        return found if self.stats[row] or b"\0" not in found else b"\0".join(sorted(found.split(b"\0")))

    def count(self) -> tuple[int, int, int]:
        """Count directories read, entries listed and files found."""
        entries = sum(place[1] for place in PLACE.iter_unpack(self.places))
        return len(self.names), entries, sum(found.count(b"\0") + 1 for found in self.found if found)

    def encode(self) -> bytes:
        """Encode everything except the rest."""
        pieces = (self.names, self.found, self.stats, bytes(self.places), bytes(self.stamps), self.problems)
        return dump((*pieces, self.unread))


def decode(pieces: Iterable[bytes]) -> Part:
    """Build a part from its encoded pieces."""
    part = Part()
    for piece in pieces:
        names, found, stats, places, stamps, problems, unread = marshal.loads(piece)  # noqa: S302  by runner itself
        part.names += names
        part.found += found
        part.stats += stats
        part.places += places
        part.stamps += stamps
        part.problems += problems
        part.unread += unread
    return part


class Snapshot:
    """Everything one execution found; decoded on demand, which an unchanged run never needs.

    Attributes:
        parts: Parts that together are the whole tree, in any order; each in encoded pieces, in reading order.
        directories: Number of directories read.
        entries: Number of entries in them.
        files: Number of entries found.
        problems: What could not be read.
        messages: Remarks about how it was found.
        defect: Why earlier snapshots may be wrong; None without such evidence.
        mounts: Mount points at and below the root that the next scan has to compare.
    """

    def __init__(
        self,
        parts: Sequence[Sequence[bytes]],
        counts: tuple[int, int, int],
        problems: Sequence[Trouble] = (),
        *,
        digest: bytes | None = None,
    ) -> None:
        self.parts = parts
        self.directories, self.entries, self.files = counts
        self.problems = list(problems)
        self.messages: list[str] = []
        self.defect: str | None = None
        self.mounts: tuple[bytes, ...] = ()
        self._digest = digest
        self._digests: dict[bytes, bytes] | None = None
        self._left_out: frozenset[bytes] = frozenset()

    @classmethod
    def from_part(cls, part: Part) -> Snapshot:
        """Build the snapshot of a tree that one part covers."""
        return cls([[part.encode()]], part.count(), part.problems)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_digests": None}  # computing them again takes less than sending them

    @property
    def digest(self) -> bytes:
        """A digest of everything found and unreadable, independent of the order of reading."""
        if self._digest is None:
            self._digest = _digest_all(self.digests(), self.problems)
        return self._digest

    def digests(self) -> Mapping[bytes, bytes]:
        """Return the :func:`digest_directory` of each directory in which something was found, by path."""
        if self._digests is None:
            self._digests = {path: digest_directory(names, stats) for path, names, stats in self.findings()}
        return self._digests

    def findings(self) -> Iterator[Finding]:
        """Yield path, found names and stats of each directory in which something was found, in the order of reading."""
        for pieces in self.parts:
            for finding in decode(pieces).findings():
                if not (self._left_out and lies_in(finding[0], self._left_out)):
                    yield finding

    def leave_out(self, paths: Collection[bytes], problems: Sequence[Trouble]) -> None:
        """Remove what was found in and below some directories, and add problems for them."""
        self._left_out = frozenset(paths)
        self.files = sum(names.count(b"\0") + 1 for _, names, _ in self.findings())
        self.problems = [*self.problems, *problems]
        self._digest = self._digests = None


def digest_directory(names: bytes, stats: bytes) -> bytes:
    """Compute 128 bits of BLAKE2b over the found names and stats of a directory."""
    # A name never contains two NULs, so names and stats cannot be confused.
    return blake2b(names + b"\0\0" + stats, digest_size=16).digest()


def _digest_all(digests: Mapping[bytes, bytes], problems: Sequence[Trouble]) -> bytes:
    """Compute 128 bits of BLAKE2b over the digests of directories and over problems."""
    # The number and the lengths separate them unambiguously.
    digest = blake2b(b"%d " % len(digests), digest_size=16)
    for path, one in sorted(digests.items()):
        digest.update(b"%d " % len(path) + path + one)
    for path, number, text in sorted(problems):
        digest.update(b"%d %d %d " % (len(path), number, len(text)) + path + text.encode())
    return digest.digest()


def differing_paths(snapshots: Mapping[str, Snapshot]) -> dict[bytes, tuple[str, ...]]:
    """Return the paths that not every strategy found, each with the names of the strategies that found it."""
    digests = [snapshot.digests() for snapshot in snapshots.values()]
    differing = {path for path in set().union(*digests) if len({one.get(path) for one in digests}) > 1}
    found_by: dict[bytes, tuple[str, ...]] = {}
    for strategy, snapshot in snapshots.items() if differing else ():
        for directory, names, _ in snapshot.findings():
            if directory in differing:
                for name in found_names(names):
                    path = join_path(directory, name)
                    found_by[path] = (*found_by.get(path, ()), strategy)
    return {path: strategies for path, strategies in found_by.items() if len(strategies) < len(snapshots)}


def join_path(directory: bytes, name: bytes) -> bytes:
    """Join a directory's relative path, empty for the root, and a name."""
    return directory + b"/" + name if directory else name


def found_names(names: bytes) -> list[bytes]:
    """Return the found names of a directory as a list."""
    return names.split(b"\0") if names else []


def lies_in(path: bytes, directories: Container[bytes]) -> bool:
    """Return whether a path is one of some directories or lies below one."""
    while path not in directories:
        if not path:
            return False
        path = path.rpartition(b"/")[0]
    return True


def pack_stats(stats: Iterable[tuple[int, int] | None]) -> bytes:
    """Encode sizes in bytes and modification times in nanoseconds, None for unreadable ones."""
    pairs = [(UNKNOWN, UNKNOWN) if stat is None else stat for stat in stats]
    if all(pair[0] == UNKNOWN or clamp(pair[1]) == pair[1] for pair in pairs):
        return array(TYPE_CODE, [number for pair in pairs for number in pair]).tobytes()
    numbers = array(TYPE_CODE, _WIDE)
    for size, mtime_ns in pairs:
        numbers.extend((size, *divmod(mtime_ns, _SECOND_NS)))
    return numbers.tobytes()


def unpack_stats(stats: bytes) -> Iterator[tuple[int | None, int | None]]:
    """Yield size and modification time of each found name; None for unreadable ones."""
    numbers = array(TYPE_CODE, stats)
    if tuple(numbers[:2]) == _WIDE:
        triples = iter(numbers[2:])
        for size, seconds, rest_ns in zip(triples, triples, triples, strict=True):
            yield (None, None) if size == UNKNOWN else (size, seconds * _SECOND_NS + rest_ns)
        return
    pairs = iter(numbers)
    for size, mtime_ns in zip(pairs, pairs, strict=True):
        yield (None if size == UNKNOWN else size), (None if mtime_ns == UNKNOWN else mtime_ns)


def clamp(time_ns: int) -> int:
    """Return the nearest time within 64 bits of nanoseconds; file systems store years beyond that."""
    return time_ns if UNKNOWN < time_ns < -UNKNOWN else UNKNOWN + 1 if time_ns < 0 else -UNKNOWN - 1
