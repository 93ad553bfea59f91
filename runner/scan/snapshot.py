"""What a scan brings back: for each folder its found names, packed so that a million of them stay small."""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from runner.model.runs import Problem
from runner.scan.part import TYPE_CODE, UNKNOWN, Part


class Listing(NamedTuple):
    """One folder that was read.

    Attributes:
        path: Relative to the root, bytes; empty for the root.
        names: The found names, sorted, joined by NUL; empty when nothing was found.
        stats: Size in bytes and modification time in nanoseconds of each name in turn, as native 64-bit
            integers; empty when only names are tracked.
        entries: Everything listed in the folder, found or not.
        device: Its device number.
        inode: Its inode number.
        mtime_ns: When its list of entries last changed, nanoseconds since the epoch.
        ctime_ns: When it itself last changed, nanoseconds since the epoch.
    """

    path: bytes
    names: bytes
    stats: bytes
    entries: int
    device: int
    inode: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """Everything one execution found.

    Attributes:
        listings: The folders that were read, in any order, each once.
        problems: The paths that could not be read.
    """

    listings: tuple[Listing, ...]
    problems: tuple[Problem, ...]

    @property
    def files(self) -> int:
        """How many entries were found."""
        return sum(listing.names.count(b"\0") + 1 for listing in self.listings if listing.names)

    @property
    def entries(self) -> int:
        """How many entries were listed, found or not."""
        return sum(listing.entries for listing in self.listings)


def to_snapshot(part: Part) -> Snapshot:
    """Make the snapshot of a tree that was read whole."""
    return Snapshot(
        listings=tuple(map(Listing._make, part.rows)),
        problems=tuple(Problem(path=path, errno=number, text=text) for path, number, text in part.problems),
    )


def join_path(folder: bytes, name: bytes) -> bytes:
    """Put a folder's relative path and a name together; the root's path is empty."""
    return folder + b"/" + name if folder else name


def found_names(listing: Listing) -> list[bytes]:
    """Unpack a folder's found names, sorted."""
    return listing.names.split(b"\0") if listing.names else []


def unpack_stats(stats: bytes) -> Iterator[tuple[int | None, int | None]]:
    """Unpack size and modification time of each found name; None for what could not be read."""
    numbers = array(TYPE_CODE)
    numbers.frombytes(stats)
    pairs = iter(numbers)
    for size, mtime_ns in zip(pairs, pairs, strict=True):
        yield (None if size == UNKNOWN else size), (None if mtime_ns == UNKNOWN else mtime_ns)


def differing_paths(snapshots: dict[str, Snapshot]) -> dict[bytes, tuple[str, ...]]:
    """Find the paths that not every strategy found.

    Args:
        snapshots: What each strategy found, by its name.

    Returns:
        For each path on which they disagree, relative to the root, the names of the strategies that found it.
    """
    by_folder = {
        strategy: {listing.path: listing.names for listing in snapshot.listings if listing.names}
        for strategy, snapshot in snapshots.items()
    }
    folders: set[bytes] = set().union(*by_folder.values())
    differing: dict[bytes, tuple[str, ...]] = {}
    for folder in folders:
        names = {strategy: listed.get(folder, b"") for strategy, listed in by_folder.items()}
        if len(set(names.values())) > 1:
            differing.update(_differing_names(folder, names))
    return differing


def _differing_names(folder: bytes, names: dict[str, bytes]) -> Iterable[tuple[bytes, tuple[str, ...]]]:
    found = {strategy: set(joined.split(b"\0")) if joined else set() for strategy, joined in names.items()}
    for name in sorted(set().union(*found.values())):
        found_by = tuple(strategy for strategy, present in found.items() if name in present)
        if len(found_by) < len(found):
            yield join_path(folder, name), found_by
