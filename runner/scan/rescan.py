"""A scan that reads only the directories that may have changed since the last one.

Every directory still reachable is looked at without following links. Its last listing is used again only if path,
device, inode, modification time and change time equal those stored. Otherwise it is read, and its stamps are relied on
the next time only if they did not change while it was read and lie clearly before the scan's start: a later change then
has another stamp, whatever the granularity of the clock.

Source:
    Git's index finds changed files in the same way, see Documentation/technical/racy-git.txt.
"""

from __future__ import annotations

import errno
import os
import sys
from operator import attrgetter

from runner.scan.filesystems import devices_stamping_changes
from runner.scan.snapshot import PLACE, STAMPS, UNKNOWN, Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from runner.scan.walk import Report, Walker

    Stamps: TypeAlias = tuple[int, int, int, int]

# Minimum age of the latest stamp at the scan's start: FAT stores every other second, and this is a little more.
SETTLED_AFTER_NS = 2_100_000_000

# Longest path for the kernel, including the final NUL; <linux/limits.h>, <sys/syslimits.h>.
_PATH_MAX = 1024 if sys.platform == "darwin" else 4096

_stamps_of = attrgetter("st_dev", "st_ino", "st_mtime_ns", "st_ctime_ns")
# Stamps of a directory that is not there, and of one that can't be looked at.
_GONE: Stamps = (0, 0, UNKNOWN, 0)
_UNSEEN: Stamps = (0, 0, UNKNOWN, 1)


def list_paths(part: Part) -> list[bytes]:
    """Return the path of each directory of a part that covers the tree."""
    paths: list[bytes] = []
    prefixes: list[bytes] = []
    for name, (parent, _) in zip(part.names, PLACE.iter_unpack(part.places), strict=True):
        path = prefixes[parent] + name if parent >= 0 else b""
        paths.append(path)
        prefixes.append(path + b"/" if path else b"")
    return paths


def look_reaches(part: Part) -> bool:
    """Return whether each directory of a part that covers the tree can be looked at by its path from the root."""
    lengths: list[int] = []
    for name, (parent, _) in zip(part.names, PLACE.iter_unpack(part.places), strict=True):
        lengths.append(lengths[parent] + 1 + len(name) if parent >= 0 else len(name))
    return max(lengths) < _PATH_MAX


def look(paths: list[bytes]) -> list[Stamps]:
    """Return the stamps of directories without following links; the root must be the current directory."""
    try:
        return list(map(_stamps_of, map(os.lstat, [path or b"." for path in paths])))
    except OSError:
        return list(map(_look_at, paths))


def _look_at(path: bytes) -> Stamps:
    try:
        stamps: Stamps = _stamps_of(os.lstat(path or b"."))
    except OSError as error:
        return _GONE if error.errno == errno.ENOENT else _UNSEEN
    return stamps


class Rescan:
    """An earlier tree, compared with the present one as far as possible without reading directories.

    The root must be the current directory.

    Args:
        walker: Reads changed directories; must settle.
        old: The earlier tree.
        settled: For each directory whether any later change must have changed its stamps.
        stats: Whether sizes and times of found files are stored.
    """

    def __init__(self, walker: Walker, old: Part, settled: bytes, *, stats: bool) -> None:
        self._walker = walker
        self._old = old
        self._paths = list_paths(old)
        self._looks = look(self._paths)
        self._stamps: list[Stamps] = list(STAMPS.iter_unpack(old.stamps))
        self._stats = old.stats
        self._changed = frozenset[int]()
        if 0 in settled or self._looks != self._stamps:
            self._changed = self._find_changed(settled)
        if stats:
            self._stat_again()

    def _find_changed(self, settled: bytes) -> frozenset[int]:
        """Return the rows of the directories that have to be read."""
        changed = set()
        for number, (seen, stamps, (parent, _)) in enumerate(
            zip(self._looks, self._stamps, PLACE.iter_unpack(self._old.places), strict=True)
        ):
            if seen != _GONE:
                if seen != stamps or not settled[number]:
                    changed.add(number)
            elif parent >= 0 and self._looks[parent] != _GONE:
                # Either its parent has changed, or a directory above was away for a moment: then the parent's stamps
                # prove nothing, and it has to be read.
                changed.add(parent)
        return frozenset(changed)

    def _stat_again(self) -> None:
        """Update the stats of the found files in unchanged directories."""
        self._stats = list(self._stats)
        changed = set(self._changed)
        for number, (found, stamps) in enumerate(zip(self._old.found, self._stamps, strict=True)):
            if found and number not in changed and self._looks[number] != _GONE:
                stats = self._walker.stat_again(self._paths[number], found.split(b"\0"), stamps[:2])
                if stats is None:
                    changed.add(number)
                else:
                    self._stats[number] = stats
        self._changed = frozenset(changed)

    @property
    def unchanged(self) -> bool:
        """Whether nothing has changed."""
        return not self._changed and self._stats == self._old.stats

    def read(self, report: Report) -> Part:
        """Read the changed directories; return the whole tree.

        Raises:
            ScanError: As :meth:`~runner.scan.walk.Walker.read` does.
        """
        if 2 * len(self._changed) > len(self._paths):  # reusing the rest costs more than reading it
            return self._walker.read([b""], report)
        again = self._walker.read(
            # The deepest first: directories opened on the way down then serve the way back up.
            [self._paths[number] for number in sorted(self._changed)],
            report,
            descend=False,
        )
        below: dict[bytes, set[bytes]] = {}
        for path in again.rest:
            directory, _, name = path.rpartition(b"/")
            below.setdefault(directory, set()).add(name)
        if self._same_directories(again, below):
            return self._patch(again, report)
        whole = Part()
        rows = self._assemble(whole, again, below, report)
        added = [path + b"/" + name if path else name for path in rows for name in sorted(below.get(path, ()))]
        if added:
            _append(whole, self._walker.read(added, report), rows)
        return whole

    def _same_directories(self, again: Part, below: dict[bytes, set[bytes]]) -> bool:
        """Return whether the tree has the same directories as before, all readable."""
        if len(again.names) < len(self._changed) or again.problems or self._old.problems or self._old.unread:
            return False
        if _GONE in self._looks:
            return False
        known: dict[int, set[bytes]] = {number: set() for number in self._changed}
        for name, (parent, _) in zip(self._old.names, PLACE.iter_unpack(self._old.places), strict=True):
            if parent in known:
                known[parent].add(name)
        return all(below.get(self._paths[number], set()) == names for number, names in known.items())

    def _patch(self, again: Part, report: Report) -> Part:
        """Replace the rows that were read again; the cost is that of the changes."""
        old, whole = self._old, Part()
        whole.names, whole.found, whole.stats = old.names, list(old.found), list(self._stats)
        whole.places, whole.stamps = bytearray(old.places), bytearray(old.stamps)
        row_of = {path: row for row, path in enumerate(again.names)}
        for number in self._changed:
            row = row_of[self._paths[number]]
            whole.found[number], whole.stats[number] = again.found[row], again.stats[row]
            parent, _ = PLACE.unpack_from(old.places, number * PLACE.size)
            _, entries = PLACE.unpack_from(again.places, row * PLACE.size)
            PLACE.pack_into(whole.places, number * PLACE.size, parent, entries)
            span = slice(number * STAMPS.size, (number + 1) * STAMPS.size)
            whole.stamps[span] = again.stamps[row * STAMPS.size : (row + 1) * STAMPS.size]
        directories, entries, files = (all_of - read for all_of, read in zip(whole.count(), again.count(), strict=True))
        report(directories, entries, files)
        return whole

    def _assemble(self, whole: Part, again: Part, below: dict[bytes, set[bytes]], report: Report) -> dict[bytes, int]:
        """Copy the known directories that are still reachable, from before or as read again.

        Args:
            whole: Receives the rows.
            again: The directories that were read again.
            below: The subdirectories of each of those, by path; known ones are removed here.
            report: Called with what was reused.

        Returns:
            The rows, in *whole*, of the directories that were read again, by path.
        """
        old, rows, reused = self._old, dict[bytes, int](), [0, 0, 0]
        read_again = {path: number for number, path in enumerate(again.names)}
        # Only problems in directories that are still reachable count.
        tried: set[bytes] = set()
        place_of = [-1] * len(old.names)
        for number, (parent, _) in enumerate(PLACE.iter_unpack(old.places)):
            path, name, place = self._paths[number], old.names[number], place_of[parent] if parent >= 0 else -1
            if self._looks[number] == _GONE or (parent >= 0 and place < 0):
                continue
            if parent >= 0 and self._paths[parent] in rows:
                siblings = below.get(self._paths[parent], set())
                if name not in siblings:
                    continue
                siblings.remove(name)
            if number not in self._changed:
                _copy(whole, old, number, place, self._stats[number])
                reused = [one + other for one, other in zip(reused, _counts(old, number), strict=True)]
            else:
                tried.add(path)
                if path not in read_again:
                    continue
                row = read_again[path]
                _copy(whole, again, row, place, again.stats[row], name)
                rows[path] = len(whole.names) - 1
            place_of[number] = len(whole.names) - 1
        left = {self._paths[number] for number in self._changed} - tried
        whole.problems = [
            one
            for one in again.problems
            if one[0] not in left and (one[0] in tried or one[0].rpartition(b"/")[0] in rows)
        ]
        whole.unread = [path for path in again.unread if path in tried]
        report(*reused)
        return rows


def _counts(part: Part, number: int) -> tuple[int, int, int]:
    """Count a directory, its entries and its found files."""
    found = part.found[number]
    return 1, PLACE.unpack_from(part.places, number * PLACE.size)[1], found.count(b"\0") + 1 if found else 0


def _copy(whole: Part, part: Part, number: int, place: int, stats: bytes, name: bytes | None = None) -> None:
    """Append a row of another part."""
    whole.names.append(part.names[number] if name is None else name)
    whole.found.append(part.found[number])
    whole.stats.append(stats)
    whole.places += PLACE.pack(place, PLACE.unpack_from(part.places, number * PLACE.size)[1])
    whole.stamps += part.stamps[number * STAMPS.size : (number + 1) * STAMPS.size]


def _append(whole: Part, part: Part, rows: dict[bytes, int]) -> None:
    """Append subtrees below rows of the whole."""
    base = len(whole.names)
    for name, (parent, entries) in zip(part.names, PLACE.iter_unpack(part.places), strict=True):
        if parent < 0:
            directory, _, last = name.rpartition(b"/")
            whole.names.append(last)
            whole.places += PLACE.pack(rows[directory], entries)
        else:
            whole.names.append(name)
            whole.places += PLACE.pack(base + parent, entries)
    whole.found += part.found
    whole.stats += part.stats
    whole.stamps += part.stamps
    whole.problems += part.problems
    whole.unread += part.unread


def differing(old: Part, settled: bytes, full: Part) -> list[bytes]:
    """Find the directories whose lists changed although their stamps did not, which should never happen.

    The root must be the current directory.

    Args:
        old: The earlier tree.
        settled: For each directory whether any later change must have changed its stamps.
        full: The tree from a full scan.

    Returns:
        Their paths.
    """
    before, now = _by_path(old), _by_path(full)
    suspects = [
        path
        for (path, listed), sure in zip(before.items(), settled, strict=True)
        if sure and path in now and now[path][0] == listed[0] and now[path][1:] != listed[1:]
    ]
    # A subdirectory added or removed during the scan makes two lists differ; then the stamps have changed since.
    return [path for path, seen in zip(suspects, look(suspects), strict=True) if seen == before[path][0]]


def _by_path(part: Part) -> dict[bytes, tuple[Stamps, bytes, set[bytes]]]:
    """Return stamps, found names and subdirectories, read or not, of each directory, in the order of rows."""
    paths = list_paths(part)
    below: dict[bytes, set[bytes]] = {path: set() for path in paths}
    for path in (*paths[1:], *(problem[0] for problem in part.problems), *part.unread):
        directory, _, name = path.rpartition(b"/")
        if directory in below:
            below[directory].add(name)
    stamps: list[Stamps] = list(STAMPS.iter_unpack(part.stamps))
    return {
        path: (stamp, part.sorted_names(number), below[path])
        for number, (path, stamp) in enumerate(zip(paths, stamps, strict=True))
    }


def settle(part: Part, root: bytes, before_ns: int) -> tuple[bytearray, int]:
    """Compute for each directory of a tree whether any later change must change its stamps.

    Args:
        part: The tree, read by a walker that settles.
        root: Absolute path of its root.
        before_ns: Upper limit of settled stamps, nanoseconds since the epoch.

    Returns:
        1 or 0 for each directory, and the number of those on file systems with unreliable stamps. A directory with
        unreadable entries is not settled, so that it is read again.
    """
    stamps = list(STAMPS.iter_unpack(part.stamps))
    devices: dict[int, bytes] = {}
    for number, stamp in enumerate(stamps):
        if stamp[0] not in devices:
            devices[stamp[0]] = os.path.join(root, part.path(number))
    trusted = devices_stamping_changes(devices)
    settled = bytearray(
        mtime_ns != UNKNOWN and max(mtime_ns, ctime_ns) < before_ns and device in trusted
        for device, _, mtime_ns, ctime_ns in stamps
    )
    unread = {path.rpartition(b"/")[0] for path in (*(problem[0] for problem in part.problems), *part.unread)}
    if unread:
        for number in range(len(stamps)):
            if part.path(number) in unread:
                settled[number] = 0
    return settled, sum(stamp[0] not in trusted for stamp in stamps)
