"""What a scan found: rows of directories while they are read, and the snapshot of a whole tree.

A trial process imports this, but no dataclasses, enums, regular expressions or typing: together they take four times
as long to import as the interpreter to start. So its modules use plain classes and marshal.
"""

from __future__ import annotations

import marshal
import os
from _blake2 import blake2b
from array import array
from itertools import chain, filterfalse
from struct import Struct

from runner.model.errors import ScanError, reason_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
    from typing import Any, TypeAlias

    # Path that could not be read, error number and text.
    Trouble: TypeAlias = tuple[bytes, int, str]
    # Path of a directory, the names found in it, sorted and joined by NUL, and their stats as in a part.
    Finding: TypeAlias = tuple[bytes, bytes, bytes]
    # Directories read, entries listed and files found.
    Counts: TypeAlias = tuple[int, int, int]

TYPE_CODE = "q"  # array: signed 64-bit

# A size or time that could not be read or is unreliable; no file has either value.
UNKNOWN = -(2**63)

_NONE = 0, 0, 0
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

    A part consists of pieces with consecutive rows. While it is read, each piece has only its own rows, and all but the
    first can only be encoded and counted. :func:`decode` adds the rows of earlier pieces, without their findings.
    A row contains a name instead of a path, which would take far more memory in a deep tree.

    Attributes:
        first_row: Number of rows in the pieces before.
        names: Name of each directory; for a row without a parent its path relative to the root.
        found: The found names of each directory of this piece, joined by NUL, in the order of their stats; without
            stats unsorted.
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

    def following(self) -> Part:
        """Return the next piece, which is empty."""
        return Part(self.first_row + len(self.names))

    def path(self, row: int) -> bytes:
        """Return a directory's path relative to the root; empty for the root."""
        names = []
        while row >= 0:
            names.append(self.names[row])
            row = PLACE.unpack_from(self.places, row * PLACE.size)[0]
        return b"/".join(reversed(names)).lstrip(b"/")  # the root's own name is empty

    def findings(self) -> Iterator[Finding]:
        """Yield path, found names and stats of each directory of this piece in which something was found."""
        for row, (found, stats) in enumerate(zip(self.found, self.stats, strict=True), self.first_row):
            if found:
                yield self.path(row), found if stats else sort_names(found), stats

    def count(self) -> Counts:
        """Count directories read, entries listed and files found."""
        # In bulk: one by one takes twice as long, a two-hundredth of a scan.
        entries = sum(array(TYPE_CODE, bytes(self.places))[1::2])
        found = list(filter(None, self.found))
        return len(self.names), entries, b"\0".join(found).count(b"\0") + bool(found)

    def encode(self) -> bytes:
        """Encode everything except the rest."""
        pieces = (self.names, self.found, self.stats, bytes(self.places), bytes(self.stamps), self.problems)
        return dump((*pieces, self.unread))


def sort_names(found: bytes) -> bytes:
    """Sort names that are joined by NUL."""
    return b"\0".join(sorted(found.split(b"\0"))) if b"\0" in found else found


def decode(pieces: Iterable[bytes]) -> Iterator[Part]:
    """Yield one part again and again: each time all directories so far, and what was found in those of one piece."""
    part = Part()
    for piece in pieces:
        part.first_row = len(part.names)
        names, part.found, part.stats, places, stamps, problems, unread = marshal.loads(piece)  # noqa: S302  own data
        part.names += names
        part.places += places
        part.stamps += stamps
        part.problems += problems
        part.unread += unread
        yield part


class Snapshot:
    """Everything one execution found: encoded pieces in a file, so that it needs no memory in proportion to files.

    Args:
        fd: Descriptor of that file, which has no name unless it is a cache; the snapshot closes it.
        pieces: Offset and size of each piece that it already has.
        counts: Directories read, entries listed and files found in them.
        digest: Of all that they contain, if known.

    Attributes:
        directories: Number of directories read.
        entries: Number of entries in them.
        files: Number of entries found.
        problems: What could not be read.
        messages: Remarks about how it was found.
        defect: Why earlier snapshots may be wrong; None without such evidence.
        mounts: Mount points at and below the root that the next scan has to compare.
    """

    def __init__(
        self, fd: int, pieces: Sequence[tuple[int, int]] = (), counts: Counts = _NONE, digest: bytes | None = None
    ) -> None:
        self.open(fd)
        self._parts = {0: list(pieces)}
        self._size = 0
        self.directories, self.entries, self.files = counts
        self.problems: list[Trouble] = []
        self.messages: list[str] = []
        self.defect: str | None = None
        self.mounts: tuple[bytes, ...] = ()
        self._digest = digest
        self._digests: dict[bytes, bytes] | None = None
        self._left_out: frozenset[bytes] = frozenset()

    def __getstate__(self) -> dict[str, Any]:
        # The receiver has the file, and computing the digests again takes less than sending them.
        return {name: value for name, value in vars(self).items() if name != "_file"} | {"_digests": None}

    def open(self, fd: int) -> None:
        """Use a descriptor of the file, after the snapshot came from another process."""
        self._file = os.fdopen(fd, "rb", buffering=0)

    def __del__(self) -> None:
        if "_file" in vars(self):
            self._file.close()

    def extend(self, pieces: Iterable[Part]) -> None:
        """Append the next pieces of the only part."""
        for piece in pieces:
            self.append(piece.encode(), piece.count(), piece.problems)

    def copy(self, other: Snapshot) -> None:
        """Append everything that another snapshot of one part has."""
        for piece in other.encoded():
            self.append(piece)
        self.directories, self.entries, self.files = other.counts
        self._digest = other.digest

    def append(self, piece: bytes, counts: Counts = _NONE, problems: Iterable[Trouble] = (), source: int = 0) -> None:
        """Append an encoded piece.

        Args:
            piece: See :meth:`Part.encode`.
            counts: Directories read, entries listed and files found in it.
            problems: What could not be read.
            source: A number for each part; its pieces come in the order of reading, mixed with those of others.

        Raises:
            ScanError: If there is no space for it.
        """
        self._parts.setdefault(source, []).append((self._size, len(piece)))
        left = memoryview(piece)
        try:
            while left:
                written = os.pwrite(self._file.fileno(), left, self._size)
                left, self._size = left[written:], self._size + written
        except OSError as error:
            directory = os.path.dirname(os.environ.get("TMPDIR", ""))  # noqa: PTH120  as light as it gets
            cure = f"free some space in {directory}, or set TMPDIR to another directory"
            raise ScanError(f"what was found can't be stored until it is saved: {reason_of(error)}; {cure}") from error
        self.directories, self.entries, self.files = map(sum, zip(self.counts, counts, strict=True))
        self.problems += problems

    def encoded(self) -> Iterator[bytes]:
        """Yield the encoded pieces, part by part."""
        return map(self._read, chain.from_iterable(self._parts.values()))

    def pieces(self) -> Iterator[Part]:
        """Yield the pieces, part by part; see :func:`decode`."""
        for places in self._parts.values():
            yield from decode(map(self._read, places))

    def tree(self) -> Part:
        """Return all directories of a snapshot of one part."""
        *_, part = self.pieces()
        return part

    def _read(self, place: tuple[int, int]) -> bytes:
        """Read a piece; not mapped, since mapped pages count as memory of the process."""
        offset, size = place
        piece = b""
        try:
            while len(piece) < size and (
                chunk := os.pread(self._file.fileno(), size - len(piece), offset + len(piece))
            ):
                piece += chunk
        except OSError as error:
            raise ScanError(f"what was found can't be read back: {reason_of(error)}; run it again") from error
        if len(piece) < size:
            raise ScanError("what was found can't be read back: its temporary file was truncated; run it again")
        return piece

    @property
    def sizes(self) -> list[int]:
        """The sizes of the encoded pieces, part by part, in bytes."""
        return [size for places in self._parts.values() for _, size in places]

    @property
    def counts(self) -> Counts:
        """Directories read, entries listed and files found."""
        return self.directories, self.entries, self.files

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
        found = (finding for piece in self.pieces() for finding in piece.findings())
        return filterfalse(lambda one: lies_in(one[0], self._left_out), found) if self._left_out else found

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
