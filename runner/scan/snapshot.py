"""What a scan brings back: for each folder its found names, packed so that a million of them stay small."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from runner.model.runs import Problem
from runner.scan.found import digest_findings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runner.scan.found import Found


class Listing(NamedTuple):
    """One folder in which something was found.

    Attributes:
        path: Relative to the root, bytes; empty for the root.
        names: The found names, sorted, joined by NUL.
        stats: Size in bytes and modification time in nanoseconds of each name in turn, packed; empty when only names
            are tracked.
    """

    path: bytes
    names: bytes
    stats: bytes


class Snapshot:
    """Everything one execution found; unpacked only when it is looked at, which an unchanged run never does.

    Args:
        found: What the trial sent.
    """

    def __init__(self, found: Found) -> None:
        self._found = found

    @property
    def directories(self) -> int:
        """How many folders were read."""
        return self._found.directories

    @property
    def entries(self) -> int:
        """How many entries were listed, found or not."""
        return self._found.entries

    @property
    def files(self) -> int:
        """How many entries were found."""
        return self._found.files

    @cached_property
    def listings(self) -> list[Listing]:
        """The folders in which something was found, in any order."""
        return list(map(Listing._make, self._found.findings()))

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """The paths that could not be read."""
        return tuple(Problem(path=path, errno=number, text=text) for path, number, text in self._found.problems)

    @property
    def mounts(self) -> tuple[bytes, ...]:
        """The mount points that the next run has to compare; see :mod:`runner.scan.mounts`."""
        return self._found.mounts

    @cached_property
    def digest(self) -> bytes:
        """A digest of all that was found and could not be read; see :func:`~runner.scan.found.digest_findings`."""
        return self._found.digest or digest_findings(self.listings, self._found.problems)


def join_path(folder: bytes, name: bytes) -> bytes:
    """Put a folder's relative path and a name together; the root's path is empty."""
    return folder + b"/" + name if folder else name


def found_names(names: bytes) -> list[bytes]:
    """Unpack a folder's found names, sorted."""
    return names.split(b"\0") if names else []


def differing_paths(snapshots: Mapping[str, Snapshot]) -> dict[bytes, tuple[str, ...]]:
    """Find the paths that not every strategy found.

    Args:
        snapshots: What each strategy found, by its name.

    Returns:
        For each path on which they disagree, relative to the root, the names of the strategies that found it.
    """
    by_folder = {
        strategy: {listing.path: listing.names for listing in snapshot.listings}
        for strategy, snapshot in snapshots.items()
    }
    folders: set[bytes] = set().union(*by_folder.values())
    differing: dict[bytes, tuple[str, ...]] = {}
    for folder in folders:
        names = {strategy: listed.get(folder, b"") for strategy, listed in by_folder.items()}
        if len(set(names.values())) > 1:
            differing.update(_differing_names(folder, names))
    return differing


def _differing_names(folder: bytes, names: Mapping[str, bytes]) -> Iterable[tuple[bytes, tuple[str, ...]]]:
    found = {strategy: set(found_names(joined)) for strategy, joined in names.items()}
    for name in sorted(set().union(*found.values())):
        found_by = tuple(strategy for strategy, present in found.items() if name in present)
        if len(found_by) < len(found):
            yield join_path(folder, name), found_by
