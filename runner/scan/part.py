"""What a walk has read, in a form that is cheap to build and crosses process borders as a few flat pieces."""

from __future__ import annotations

import marshal
from array import array
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeAlias

    # A path that could not be read, the error's number and its text.
    Trouble: TypeAlias = tuple[bytes, int, str]

TYPE_CODE = "q"  # array: signed 64-bit

# Stands for a size or time that could not be read or can't be relied on; no file has either.
UNKNOWN = -(2**63)

# A folder's place: the number of its parent's row, -1 for none, and how many entries it has.
PLACE = Struct("=qq")
# A folder's stamps: device, inode, modification time and change time.
STAMPS = Struct("=QQqq")


class Part:
    """What was read of a tree, a row for each folder; a parent's row always comes before those of its subfolders.

    A part may be read in several pieces, whose rows go on from one another. All but the first can only be encoded and
    counted, until :func:`decode` puts them together.

    Paths are not kept, but each folder's name and the row of its parent: in a deep tree the paths would take far
    more memory than the names.

    Attributes:
        names: Each folder's name; for a row without a parent its path relative to the root.
        found: The found names of each folder, joined by NUL; empty when nothing was found. In the order of their stats,
            or where there are none, in that in which they were listed.
        stats: Size in bytes and modification time in nanoseconds of each found name in turn, as :func:`pack_stats`
            packs them; empty when only names are tracked.
        places: Each folder's :data:`PLACE`, one behind the other.
        stamps: Each folder's :data:`STAMPS` likewise; empty where nobody wants them.
        problems: What could not be read.
        unread: Paths of folders that were listed but left out without being a problem: they had vanished, or lie on
            another file system.
        rest: Paths of subfolders that were left, where they were not to be read.
    """

    __slots__ = ("found", "names", "places", "problems", "rest", "stamps", "stats", "unread")

    def __init__(self) -> None:
        self.names: list[bytes] = []
        self.found: list[bytes] = []
        self.stats: list[bytes] = []
        self.places = bytearray()
        self.stamps = bytearray()
        self.problems: list[Trouble] = []
        self.unread: list[bytes] = []
        self.rest: list[bytes] = []

    def path(self, number: int) -> bytes:
        """Tell a folder's path relative to the root, by the number of its row; empty for the root."""
        names = []
        while number >= 0:
            names.append(self.names[number])
            number = PLACE.unpack_from(self.places, number * PLACE.size)[0]
        return b"/".join(reversed(names)).lstrip(b"/")  # the root's own name is empty

    def findings(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Give path, found names and stats of each folder in which something was found."""
        for number, found in enumerate(self.found):
            if found:
                yield self.path(number), self.sorted_names(number), self.stats[number]

    def sorted_names(self, number: int) -> bytes:
        """Give a folder's found names, sorted and joined by NUL; the walk leaves sorting to whoever needs it."""
        found = self.found[number]
        return found if self.stats[number] or b"\0" not in found else b"\0".join(sorted(found.split(b"\0")))

    def count(self) -> tuple[int, int, int]:
        """Count folders read, entries listed and files found."""
        entries = sum(place[1] for place in PLACE.iter_unpack(self.places))
        return len(self.names), entries, sum(found.count(b"\0") + 1 for found in self.found if found)

    def encode(self) -> bytes:
        """Flatten all but the rest."""
        pieces = (self.names, self.found, self.stats, bytes(self.places), bytes(self.stamps), self.problems)
        return marshal.dumps((*pieces, self.unread))


def decode(pieces: Iterable[bytes]) -> Part:
    """Turn what :meth:`Part.encode` gave, for each piece of a part in turn, back into that part."""
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


# Begins the stats of a directory of which a time does not fit: size, seconds and nanoseconds of each name follow.
_WIDE = (UNKNOWN, 0)
_SECOND_NS = 10**9


def pack_stats(stats: Iterable[tuple[int, int] | None]) -> bytes:
    """Pack sizes and modification times in nanoseconds, None for what could not be read; see :func:`unpack_stats`."""
    pairs = [(UNKNOWN, UNKNOWN) if stat is None else stat for stat in stats]
    if all(pair[0] == UNKNOWN or clamp(pair[1]) == pair[1] for pair in pairs):
        return array(TYPE_CODE, [number for pair in pairs for number in pair]).tobytes()
    numbers = array(TYPE_CODE, _WIDE)
    for size, mtime_ns in pairs:
        numbers.extend((size, *divmod(mtime_ns, _SECOND_NS)))
    return numbers.tobytes()


def unpack_stats(stats: bytes) -> Iterator[tuple[int | None, int | None]]:
    """Unpack size and modification time of each found name; None for what could not be read."""
    numbers = array(TYPE_CODE)
    numbers.frombytes(stats)
    if tuple(numbers[:2]) == _WIDE:
        triples = iter(numbers[2:])
        for size, seconds, rest_ns in zip(triples, triples, triples, strict=True):
            yield (None, None) if size == UNKNOWN else (size, seconds * _SECOND_NS + rest_ns)
        return
    pairs = iter(numbers)
    for size, mtime_ns in zip(pairs, pairs, strict=True):
        yield (None if size == UNKNOWN else size), (None if mtime_ns == UNKNOWN else mtime_ns)


def clamp(time_ns: int) -> int:
    """Bring a time within 64 bits of nanoseconds; file systems keep years beyond that."""
    return time_ns if UNKNOWN < time_ns < -UNKNOWN else UNKNOWN + 1 if time_ns < 0 else -UNKNOWN - 1
