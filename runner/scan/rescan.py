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
from runner.scan.snapshot import PLACE, STAMPS, UNKNOWN, Part, decode, digest_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import TypeAlias

    from runner.scan.snapshot import Snapshot
    from runner.scan.walk import Report, Walker

    Stamps: TypeAlias = tuple[int, int, int, int]
    # Found names and stats by row.
    Contents: TypeAlias = dict[int, tuple[bytes, bytes]]

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


def rescan(walker: Walker, old: Snapshot, settled: bytes, snapshot: Snapshot, report: Report, *, stats: bool) -> bool:
    """Store the whole tree, reading the directories that may have changed; return False and store nothing if none has.

    The root must be the current directory.

    Args:
        walker: Reads them; must settle.
        old: The earlier snapshot, of one part.
        settled: For each directory whether any later change must have changed its stamps.
        snapshot: Receives the tree; empty.
        report: Called with the progress, unless nothing has changed.
        stats: Whether sizes and times of found files are stored.
    """
    tree, ends = Part(), []
    for tree in old.pieces():  # in the end it has all directories
        ends.append((len(tree.names), len(tree.problems) + len(tree.unread)))
    paths = list_paths(tree)
    looks = look(paths)
    stamps: list[Stamps] = list(STAMPS.iter_unpack(tree.stamps))
    changed = _find_changed(tree, looks, stamps, settled) if 0 in settled or looks != stamps else set()
    contents = _stat_again(walker, old, paths, looks, changed) if stats else {}
    if not changed and not contents:
        return False
    if 2 * len(changed) > len(paths):  # reusing the rest costs more than reading it
        snapshot.extend(walker.read([b""], report))
        return True
    numbers = {paths[number]: number for number in changed}
    # The deepest first: directories opened on the way down then serve the way back up.
    again = Part()
    read = _read_again(walker, tree, [paths[number] for number in sorted(changed)], numbers, again, contents, report)
    away, added = _compare_subdirectories(tree, paths, looks, changed, again.rest)
    rows = _renumber(tree, away | (changed - contents.keys()))
    _copy(old, snapshot, tree, ends, rows, contents)
    report(*(all_of - part_of for all_of, part_of in zip(snapshot.counts, read, strict=True)))
    _add_problems(snapshot, tree, again, numbers, rows, away)
    row_of = {path: rows[number] for path, number in numbers.items() if rows[number] >= 0}
    starts = [path + b"/" + name if path else name for path, name in added if path in row_of]
    if starts:
        snapshot.extend(_below(piece, row_of) for piece in walker.read(starts, report, first_row=max(rows) + 1))
    return True


def _read_again(
    walker: Walker,
    tree: Part,
    paths: list[bytes],
    numbers: Mapping[bytes, int],
    again: Part,
    contents: Contents,
    report: Report,
) -> tuple[int, int, int]:
    """Read directories, update their rows of the tree and their contents, and count them.

    Their subdirectories and problems are added to *again*.
    """
    counts = 0, 0, 0
    for piece in walker.read(paths, report, descend=False):
        for row, path in enumerate(piece.names):
            number = numbers[path]
            contents[number] = piece.found[row], piece.stats[row]
            parent, _ = PLACE.unpack_from(tree.places, number * PLACE.size)
            _, entries = PLACE.unpack_from(piece.places, row * PLACE.size)
            PLACE.pack_into(tree.places, number * PLACE.size, parent, entries)
            STAMPS.pack_into(tree.stamps, number * STAMPS.size, *STAMPS.unpack_from(piece.stamps, row * STAMPS.size))
        again.rest += piece.rest
        again.problems += piece.problems
        again.unread += piece.unread
        directories, entries, files = piece.count()
        counts = counts[0] + directories, counts[1] + entries, counts[2] + files
    return counts


def _add_problems(
    snapshot: Snapshot, tree: Part, again: Part, numbers: Mapping[bytes, int], rows: list[int], away: Collection[int]
) -> None:
    """Store the problems in directories that are still reachable."""
    above = {number: PLACE.unpack_from(tree.places, number * PLACE.size)[0] for number in numbers.values()}
    reached = {
        path
        for path, number in numbers.items()
        if rows[number] >= 0 or (number not in away and (above[number] < 0 or rows[above[number]] >= 0))
    }
    part = Part()
    part.problems = [
        problem
        for problem in again.problems
        if (problem[0] if problem[0] in numbers else problem[0].rpartition(b"/")[0]) in reached
    ]
    part.unread = [path for path in again.unread if path in reached]
    if part.problems or part.unread:
        snapshot.extend([part])


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


def _stat_again(walker: Walker, old: Snapshot, paths: list[bytes], looks: list[Stamps], changed: set[int]) -> Contents:
    """Return the changed contents of unchanged directories; add to *changed* where stats can't be read."""
    contents: Contents = {}
    for piece in old.pieces():
        for number, (found, stats) in enumerate(zip(piece.found, piece.stats, strict=True), piece.first_row):
            if found and number not in changed and looks[number] != _GONE:
                again = walker.stat_again(paths[number], found.split(b"\0"), looks[number][:2])
                if again is None:
                    changed.add(number)
                elif again != stats:
                    contents[number] = found, again
    return contents


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


def _renumber(tree: Part, away: Collection[int]) -> list[int]:
    """Return the new row of each directory when some are removed with everything below; -1 for a removed one."""
    rows: list[int] = []
    kept = 0
    for number, (parent, _) in enumerate(PLACE.iter_unpack(tree.places)):
        is_kept = number not in away and (parent < 0 or rows[parent] >= 0)
        rows.append(kept if is_kept else -1)
        kept += is_kept
    return rows


def _copy(
    old: Snapshot, snapshot: Snapshot, tree: Part, ends: list[tuple[int, int]], rows: list[int], contents: Contents
) -> None:
    """Copy a snapshot without its problems, with changed rows and contents; other pieces stay encoded.

    Args:
        old: The earlier snapshot.
        snapshot: Receives the copy.
        tree: The directories of the earlier snapshot, with changed places and stamps.
        ends: Number of rows, and of problems and unread directories, up to the end of each piece.
        rows: The new row of each directory, -1 for a removed one.
        contents: Changed contents by earlier row.
    """
    counts: list[Iterable[int]] = [old.counts]
    begin = noted = 0
    for encoded, (end, noted_here) in zip(old.encoded(), ends, strict=True):
        is_placed = begin == end or rows[end - 1] == end - 1  # nothing was removed up to here
        changed = [number for number in range(begin, end) if number in contents]
        if is_placed and not changed and noted == noted_here:
            snapshot.append(encoded)
        else:
            [piece] = decode([encoded])
            before = piece.count()
            for number in changed:
                piece.found[number - begin], piece.stats[number - begin] = contents[number]
            piece.places = tree.places[begin * PLACE.size : end * PLACE.size]
            piece.stamps = tree.stamps[begin * STAMPS.size : end * STAMPS.size]
            piece.problems, piece.unread = [], []
            if not is_placed:
                _remove(piece, rows, begin)
            counts.append([now - then for now, then in zip(piece.count(), before, strict=True)])
            if piece.names:
                snapshot.append(piece.encode())
        begin, noted = end, noted_here
    snapshot.directories, snapshot.entries, snapshot.files = map(sum, zip(*counts, strict=True))


def _remove(piece: Part, rows: list[int], begin: int) -> None:
    """Remove the directories of a piece that have no new row, and renumber the parents of the others."""
    kept = [row >= 0 for row in rows[begin : begin + len(piece.names)]]
    piece.names, piece.found, piece.stats = (
        list(compress(column, kept)) for column in (piece.names, piece.found, piece.stats)
    )
    places, stamps = (
        compress(one.iter_unpack(all_of), kept) for one, all_of in ((PLACE, piece.places), (STAMPS, piece.stamps))
    )
    piece.places = bytearray(b"".join(PLACE.pack(rows[parent] if parent >= 0 else -1, n) for parent, n in places))
    piece.stamps = bytearray(b"".join(STAMPS.pack(*one) for one in stamps))


def _below(piece: Part, row_of: Mapping[bytes, int]) -> Part:
    """Return a piece whose topmost directories are below rows of the tree."""
    for row, (parent, entries) in enumerate(PLACE.iter_unpack(bytes(piece.places))):
        if parent < 0:
            directory, _, piece.names[row] = piece.names[row].rpartition(b"/")
            PLACE.pack_into(piece.places, row * PLACE.size, row_of[directory], entries)
    return piece


def differing(old: Snapshot, settled: bytes, full: Snapshot) -> list[bytes]:
    """Find the directories whose lists changed although their stamps did not, which should never happen.

    The root must be the current directory.

    Args:
        old: The earlier snapshot.
        settled: As for :func:`rescan`.
        full: The snapshot of a full scan.
    """
    before, now = _by_path(old), _by_path(full)
    suspects = [
        path
        for (path, listed), sure in zip(before.items(), settled, strict=True)
        if sure and path in now and now[path][0] == listed[0] and now[path][1:] != listed[1:]
    ]
    # A subdirectory added or removed during the scan makes two lists differ; then the stamps have changed since.
    return [path for path, seen in zip(suspects, look(suspects), strict=True) if seen == before[path][0]]


def _by_path(snapshot: Snapshot) -> dict[bytes, tuple[Stamps, bytes, set[bytes]]]:
    """Return stamps, a digest of found names, and subdirectories, read or not, of each directory, by row."""
    digests = {path: digest_directory(names, b"") for path, names, _ in snapshot.findings()}
    tree = snapshot.tree()
    paths = list_paths(tree)
    below: dict[bytes, set[bytes]] = {path: set() for path in paths}
    for path in (*paths[1:], *(problem[0] for problem in tree.problems), *tree.unread):
        directory, _, name = path.rpartition(b"/")
        if directory in below:
            below[directory].add(name)
    stamps: list[Stamps] = list(STAMPS.iter_unpack(tree.stamps))
    return {path: (stamp, digests.get(path, b""), below[path]) for path, stamp in zip(paths, stamps, strict=True)}


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
