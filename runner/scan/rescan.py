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
from itertools import compress
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
    prefixes: list[bytes] = []
    for name, (parent, _) in zip(part.names, PLACE.iter_unpack(part.places), strict=True):
        prefixes.append(prefixes[parent] + name + b"/" if parent >= 0 else b"")
    return [prefix[:-1] for prefix in prefixes]


def look_reaches(part: Part) -> bool:
    """Return whether each directory of a part that covers the tree can be looked at by its path from the root."""
    lengths: list[int] = []  # paths would take far more memory in a deep tree
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


def rescan(walker: Walker, old: Part, settled: bytes, report: Report, *, stats: bool) -> Part:
    """Return the whole tree, reading the directories that may have changed; *old* itself if nothing has.

    The root must be the current directory.

    Args:
        walker: Reads them; must settle.
        old: The earlier tree.
        settled: For each directory whether any later change must have changed its stamps.
        report: Called with the progress, unless nothing has changed.
        stats: Whether sizes and times of found files are stored.
    """
    paths = list_paths(old)
    looks = look(paths)
    stamps: list[Stamps] = list(STAMPS.iter_unpack(old.stamps))
    changed = _find_changed(old, looks, stamps, settled) if 0 in settled or looks != stamps else set()
    new_stats = _stat_again(walker, old, paths, looks, changed) if stats else old.stats
    if not changed and new_stats == old.stats:
        return old
    if 2 * len(changed) > len(paths):  # reusing the rest costs more than reading it
        return walker.read([b""], report)
    # The deepest first: directories opened on the way down then serve the way back up.
    again = walker.read([paths[number] for number in sorted(changed)], report, descend=False)
    away, added = _compare_subdirectories(old, paths, looks, changed, again.rest)
    whole, failed = _patch(old, new_stats, again, {paths[number]: number for number in changed})
    rows = _remove(whole, away | failed) if away or failed else range(len(paths))
    # Only problems in directories that are still reachable count.
    above = {number: PLACE.unpack_from(old.places, number * PLACE.size)[0] for number in changed}
    reached = {
        paths[number]
        for number, parent in above.items()
        if rows[number] >= 0 or (number not in away and (parent < 0 or rows[parent] >= 0))
    }
    read = {paths[number] for number in changed}
    whole.problems = [
        problem
        for problem in again.problems
        if (problem[0] if problem[0] in read else problem[0].rpartition(b"/")[0]) in reached
    ]
    whole.unread = [path for path in again.unread if path in reached]
    directories, entries, files = (
        all_of - part_of for all_of, part_of in zip(whole.count(), again.count(), strict=True)
    )
    report(directories, entries, files)
    row_of = {paths[number]: rows[number] for number in changed if rows[number] >= 0}
    starts = [path + b"/" + name if path else name for path, name in added if path in row_of]
    if starts:
        _append(whole, walker.read(starts, report), row_of)
    return whole


def _find_changed(old: Part, looks: list[Stamps], stamps: list[Stamps], settled: bytes) -> set[int]:
    """Return the rows of the directories that have to be read."""
    changed = set()
    for number, (seen, known, (parent, _)) in enumerate(zip(looks, stamps, PLACE.iter_unpack(old.places), strict=True)):
        if seen != _GONE:
            if seen != known or not settled[number]:
                changed.add(number)
        elif parent >= 0 and looks[parent] != _GONE:
            # Either its parent has changed, or a directory above was away for a moment: then the parent's stamps
            # prove nothing, and it has to be read.
            changed.add(parent)
    return changed


def _stat_again(walker: Walker, old: Part, paths: list[bytes], looks: list[Stamps], changed: set[int]) -> list[bytes]:
    """Return the stats of the found files in unchanged directories; add to *changed* where they can't be read."""
    stats = list(old.stats)
    for number, found in enumerate(old.found):
        if found and number not in changed and looks[number] != _GONE:
            again = walker.stat_again(paths[number], found.split(b"\0"), looks[number][:2])
            if again is None:
                changed.add(number)
            else:
                stats[number] = again
    return stats


def _compare_subdirectories(
    old: Part, paths: list[bytes], looks: list[Stamps], changed: set[int], listed: list[bytes]
) -> tuple[set[int], list[tuple[bytes, bytes]]]:
    """Return the rows of directories that are away, and path and name of each new subdirectory in a changed one."""
    below: dict[bytes, set[bytes]] = {paths[number]: set() for number in changed}
    for path in listed:
        directory, _, name = path.rpartition(b"/")
        below[directory].add(name)
    away = {number for number, seen in enumerate(looks) if seen == _GONE} if _GONE in looks else set()
    for number, (name, (parent, _)) in enumerate(zip(old.names, PLACE.iter_unpack(old.places), strict=True)):
        if parent in changed and number not in away:
            if name in below[paths[parent]]:
                below[paths[parent]].remove(name)
            else:
                away.add(number)
    return away, [(path, name) for path, names in below.items() for name in sorted(names)]


def _patch(old: Part, stats: list[bytes], again: Part, changed: dict[bytes, int]) -> tuple[Part, set[int]]:
    """Replace the rows of the directories that were read again; return the tree and the rows of those that were not."""
    whole = Part()
    whole.names, whole.found, whole.stats = list(old.names), list(old.found), list(stats)
    whole.places, whole.stamps = bytearray(old.places), bytearray(old.stamps)
    for row, path in enumerate(again.names):
        number = changed[path]
        whole.found[number], whole.stats[number] = again.found[row], again.stats[row]
        parent, _ = PLACE.unpack_from(old.places, number * PLACE.size)
        _, entries = PLACE.unpack_from(again.places, row * PLACE.size)
        PLACE.pack_into(whole.places, number * PLACE.size, parent, entries)
        STAMPS.pack_into(whole.stamps, number * STAMPS.size, *STAMPS.unpack_from(again.stamps, row * STAMPS.size))
    return whole, set(changed.values()) - {changed[path] for path in again.names}


def _remove(part: Part, away: set[int]) -> list[int]:
    """Remove some directories and everything below; return the new row of each, -1 for a removed one."""
    rows: list[int] = []
    places, kept = bytearray(), 0
    for number, (parent, entries) in enumerate(PLACE.iter_unpack(part.places)):
        is_kept = number not in away and (parent < 0 or rows[parent] >= 0)
        rows.append(kept if is_kept else -1)
        if is_kept:
            places += PLACE.pack(rows[parent] if parent >= 0 else -1, entries)
            kept += 1
    are_kept = [row >= 0 for row in rows]
    part.names, part.found, part.stats = (
        list(compress(column, are_kept)) for column in (part.names, part.found, part.stats)
    )
    part.stamps = bytearray(b"".join(STAMPS.pack(*one) for one in compress(STAMPS.iter_unpack(part.stamps), are_kept)))
    part.places = places
    return rows


def _append(whole: Part, part: Part, rows: dict[bytes, int]) -> None:
    """Append subtrees below rows of the whole."""
    base = len(whole.names)
    for name, (parent, entries) in zip(part.names, PLACE.iter_unpack(part.places), strict=True):
        directory, _, last = name.rpartition(b"/")
        whole.names.append(last if parent < 0 else name)
        whole.places += PLACE.pack(rows[directory] if parent < 0 else base + parent, entries)
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
        settled: As for :func:`rescan`.
        full: The tree from a full scan.
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
