"""The walk: iterative, on open directories, with bounded descriptors, and problems instead of exceptions.

A directory is opened by one name relative to its open parent and never through a link, so that neither depth nor
PATH_MAX nor a directory replaced by a link during the scan can stop the walk or lead it outside the root.
"""

from __future__ import annotations

import errno
import os
from array import array
from itertools import chain, compress
from operator import attrgetter, not_

from runner.model.errors import ScanError, ran_short, reason_of
from runner.scan.filesystems import devices_counting_subdirectories
from runner.scan.match import Matcher
from runner.scan.pending import OPEN, Pending
from runner.scan.root import open_root, root_error
from runner.scan.snapshot import PLACE, STAMPS, TYPE_CODE, UNKNOWN, Part, clamp, pack_stats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeAlias

    from runner.scan.match import Selecting
    from runner.scan.pending import Directory

    # Receives the directories read, entries listed and files found since the last report.
    Report: TypeAlias = Callable[[int, int, int], None]

# Cost of reading a directory, and of the stat of a file, in listed entries; measured on a warm ext4.
_DIRECTORY_COST, _STAT_COST = 50, 8
# Work between two reports of progress, about 2 ms.
_REPORT_WORK = 5_000
# The :func:`weigh` of one piece, about 50 ms; a single directory may weigh more.
PIECE_WORK = 100_000

_size_and_time = attrgetter("st_size", "st_mtime_ns")
_name = attrgetter("name")
# Of a file's mode; importing the module stat takes as long as the stat of a hundred files.
_KIND, _DIRECTORY = 0o170000, 0o040000

# Shortages of the process, not problems of the tree: the whole scan fails.
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class Walker:
    """Reads directories below one root.

    It makes each directory the current one while reading it: names are then listed as bytes, a sixth faster than text.
    The current directory stays where the walk ended, so a walk needs its own process.

    Args:
        root: Absolute path of the root; a link there is followed, since the user named it.
        selection: What to find.
        settle: Whether to keep stamps, which takes a second look at each directory after reading it; if they changed,
            its modification time becomes :data:`~runner.scan.snapshot.UNKNOWN`.

    Attributes:
        fd: The open root.
        identity: Its device and inode.
        branches: Whether it is known to have more than one subdirectory; False where links are not counted.
        pending: The directories still to be read.

    Raises:
        ScanError: If the root is missing, not a directory or unreadable.
    """

    def __init__(self, root: bytes, selection: Selecting, *, settle: bool = False) -> None:
        self._matcher = Matcher(selection)
        self._stats = selection.track == "stat"
        self._settle = settle
        self._counting = devices_counting_subdirectories()
        self._path = root
        self.fd = open_root(root)
        root_stat = os.fstat(self.fd)
        self.identity = (root_stat.st_dev, root_stat.st_ino)
        # Two links are its own; ext4 counts only one where there are too many.
        self.branches = root_stat.st_dev in self._counting and root_stat.st_nlink not in {2, 3}
        self._only_device = root_stat.st_dev if selection.one_file_system else None
        self.pending = Pending(self.fd)

    def close(self) -> None:
        """Close the root and all other directories."""
        self.pending.close()
        os.close(self.fd)

    def check_root(self) -> None:
        """Check that the root is still the directory that was opened.

        Raises:
            ScanError: If it vanished or was replaced, so that what was read is not about it.
        """
        try:
            now = os.stat(self._path)
        except OSError as error:
            raise root_error(self._path, error) from error
        self.check_identity((now.st_dev, now.st_ino))

    def check_identity(self, identity: tuple[int, int]) -> None:
        """Check that the root has this device and inode, like :meth:`check_root`."""
        if identity != self.identity:
            raise ScanError(f"the root {os.fsdecode(self._path)!r} was replaced while it was scanned; run it again")

    def read(
        self, starts: Iterable[bytes], report: Report, *, first_row: int = 0, descend: bool = True
    ) -> Iterator[Part]:
        """Yield the pieces of a part, at least one: directories and everything below them.

        Args:
            starts: Paths relative to the root; empty for the root itself.
            report: Called with the progress every few directories.
            first_row: Number of the first row.
            descend: Whether to read subdirectories as well, or to list them in the part's rest.

        Raises:
            ScanError: If the process runs out of descriptors or memory.
        """
        part, spent = Part(first_row), 0
        self.pending.add_starts(starts)
        while self.pending.directories:
            if spent >= PIECE_WORK:
                yield part
                part, spent = part.following(), 0
            counts = self.read_some(part, _REPORT_WORK, descend=descend)
            report(*counts)
            spent += weigh(*counts)
        yield part

    def read_some(self, part: Part, work: int, *, descend: bool = True) -> tuple[int, int, int]:
        """Read pending directories into *part*, at least one; return directories read, entries listed, files found.

        Args:
            part: Receives the rows.
            work: Reading stops after this work, about one per listed entry.
            descend: As for :meth:`read`.
        """
        pending, directories = self.pending, self.pending.directories
        before = len(part.names)
        entries = files = spent = 0
        while directories and spent < work:
            # The newest first, which keeps few directories open.
            parent, name = directories.pop()
            fd = -1
            try:
                fd = pending.open(parent, name)
                identity, listed, found, subdirectories = self._list(fd, parent, name, part)
            except OSError as error:
                self._note_directory(part, parent, name, error)
            else:
                if not descend:
                    prefix = _prefix(parent, name)
                    part.rest += [prefix + each for each in subdirectories]
                elif subdirectories:
                    row = part.first_row + len(part.names) - 1
                    pending.add_subdirectories(parent, name, fd, row, identity, subdirectories)
                    fd = -1
                entries += listed
                files += found
                spent += listed + _DIRECTORY_COST + (found * _STAT_COST if self._stats else 0)
            finally:
                if fd >= 0:
                    os.close(fd)
        return len(part.names) - before, entries, files

    def stat_again(self, path: bytes, names: list[bytes], identity: tuple[int, int]) -> bytes | None:
        """Return the packed stats of names found earlier in a directory; None if it has to be read again."""
        try:
            fd = os.open(path or b".", OPEN, dir_fd=self.fd)
        except OSError:
            return None
        try:
            now = os.fstat(fd)
            if (now.st_dev, now.st_ino) != identity:
                return None
            kept, stats, problems = _stat_files(fd, names)
        finally:
            os.close(fd)
        return stats if kept == names and not problems else None

    def _note_directory(self, part: Part, parent: Directory, name: bytes, error: OSError) -> None:
        """Record a directory that could not be read; one that vanished is no problem."""
        if not name and error.errno not in _SHORTAGES:
            raise root_error(self._path, error) from error
        if error.errno == errno.ENOENT:
            part.unread.append(parent.prefix() + name)
        else:
            _note(part, parent.prefix() + name, error)

    def _list(
        self, fd: int, parent: Directory, name: bytes, part: Part
    ) -> tuple[tuple[int, int], int, int, list[bytes]]:
        """Read one open directory; return its identity, entries listed, files found, and subdirectories to read."""
        before = os.fstat(fd)
        identity = before.st_dev, before.st_ino
        if self._only_device is not None and before.st_dev != self._only_device:
            part.unread.append(parent.prefix() + name)
            return identity, 0, 0, []
        subdirectories: list[bytes] = []
        names: list[bytes] = []
        found: list[bytes] = []
        leaf = before.st_nlink == 2 and before.st_dev in self._counting
        if leaf:
            names = _list_names(fd)
            found = self._matcher.pick(names)
            # A directory created in between would be taken for a file. The second look costs a hundredth, and is not
            # needed if nothing was found or the files are looked at anyway.
            if found and not self._stats:
                after = os.fstat(fd)
                leaf = (after.st_nlink, after.st_mtime_ns) == (2, before.st_mtime_ns)
        if not leaf:
            names, subdirectories = _list_kinds(fd)
            found = self._matcher.pick(names)
        listed = len(names) + len(subdirectories)
        excludes = self._matcher.excludes
        if excludes is not None:
            prefix = _prefix(parent, name)
            found = [each for each in found if not excludes(each, prefix, False)]  # noqa: FBT003
            subdirectories = [each for each in subdirectories if not excludes(each, prefix, True)]  # noqa: FBT003
        stats = b""
        if self._stats and found:
            found.sort()
            found, stats, problems = _stat_files(fd, found)
            for each, error in problems:
                _note(part, _prefix(parent, name) + each, error)
        part.names.append(name if parent.row >= 0 else parent.prefix() + name)
        part.found.append(b"\0".join(found))
        part.stats.append(stats)
        part.places += PLACE.pack(parent.row, listed)
        if self._settle:
            after = os.fstat(fd)
            moved = (after.st_mtime_ns, after.st_ctime_ns) != (before.st_mtime_ns, before.st_ctime_ns)
            mtime_ns = UNKNOWN if moved else clamp(before.st_mtime_ns)
            part.stamps += STAMPS.pack(*identity, mtime_ns, clamp(before.st_ctime_ns))
        return identity, listed, len(found), subdirectories


def weigh(directories: int, entries: int, files: int) -> int:
    """Return how much a piece has: found names stay in memory until it is stored."""
    return directories + entries + _STAT_COST * files


def _list_names(fd: int) -> list[bytes]:
    """List the names in an open directory."""
    try:
        os.fchdir(fd)
    except PermissionError:  # it may be read but not entered
        return list(map(os.fsencode, os.listdir(fd)))
    return os.listdir(b".")


def _list_kinds(fd: int) -> tuple[list[bytes], list[bytes]]:
    """List an open directory: the names of other entries, and those of subdirectories."""
    entries: list[os.DirEntry[Any]]
    try:
        os.fchdir(fd)
    except PermissionError:
        with os.scandir(fd) as iterator:
            entries = list(iterator)
        names = [os.fsencode(entry.name) for entry in entries]
    else:
        with os.scandir(b".") as listed:
            entries = list(listed)
        names = list(map(_name, entries))
    are_directories = [entry.is_dir(follow_symlinks=False) for entry in entries]
    return list(compress(names, map(not_, are_directories))), list(compress(names, are_directories))


def _prefix(parent: Directory, name: bytes) -> bytes:
    """Return the path of a directory with a trailing slash; empty for the root."""
    return parent.prefix() + name + b"/" if name else b""


def _note(part: Part, path: bytes, error: OSError) -> None:
    if error.errno in _SHORTAGES:
        raise ran_short(error) from error
    part.problems.append((path, error.errno or 0, reason_of(error)))


def _stat_files(fd: int, found: list[bytes]) -> tuple[list[bytes], bytes, list[tuple[bytes, OSError]]]:
    """Look at found names without following links; drop those that vanished or became directories.

    Returns:
        The remaining names, their packed stats, and the unreadable ones.
    """
    try:
        os.fchdir(fd)
        entries = list(map(os.lstat, found))
        numbers = array(TYPE_CODE, chain.from_iterable(map(_size_and_time, entries)))
    except (OSError, OverflowError):
        return _stat_one_by_one(fd, found)
    if UNKNOWN in numbers or any(entry.st_mode & _KIND == _DIRECTORY for entry in entries):
        return _stat_one_by_one(fd, found)
    return found, numbers.tobytes(), []


def _stat_one_by_one(fd: int, found: list[bytes]) -> tuple[list[bytes], bytes, list[tuple[bytes, OSError]]]:
    stats: dict[bytes, tuple[int, int] | None] = {}
    problems = []
    for name in found:
        try:
            entry = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.ENOENT:
                problems.append((name, error))
                stats[name] = None
        else:
            if entry.st_mode & _KIND != _DIRECTORY:
                stats[name] = (entry.st_size, entry.st_mtime_ns)
    return list(stats), pack_stats(stats.values()), problems
