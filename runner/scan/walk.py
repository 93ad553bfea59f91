"""The walk: iterative, on open folders, with bounded descriptors, and problems instead of exceptions.

A folder is always opened by one name relative to its open parent and never through a link, so that neither depth
nor PATH_MAX nor a folder swapped for a link in mid-scan can stop the walk or lead it outside the root.
"""

from __future__ import annotations

import errno
import os
from array import array
from functools import partial
from itertools import chain, compress
from operator import attrgetter, not_

from runner.model.errors import ScanError, ran_short, reason_of
from runner.scan.filesystems import devices_counting_subfolders
from runner.scan.match import Matcher
from runner.scan.part import PLACE, STAMPS, TYPE_CODE, UNKNOWN, Part, clamp, pack_stats
from runner.scan.pending import OPEN, Waiting
from runner.scan.root import open_root, root_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeAlias

    from runner.scan.pending import Folder
    from runner.scan.query import Selecting

    # Takes the folders read, entries listed and files found since the last report.
    Report: TypeAlias = Callable[[int, int, int], None]
    Until: TypeAlias = Callable[[int], bool]

# What reading a folder, or the stat of a file, costs beside listing one entry; measured on a warm ext4.
_FOLDER_COST, _STAT_COST = 50, 8
# How many folders are read between two reports of progress.
_REPORT_EVERY = 64

_size_and_time = attrgetter("st_size", "st_mtime_ns")
_name = attrgetter("name")
# Of a file's mode; the module that names them takes as long to import as a hundred files to stat.
_KIND, _FOLDER = 0o170000, 0o040000

# What the process lacks, not what the tree has: no folder is to blame, so the scan as a whole fails.
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class Walker:
    """Reads folders below one root, as many at a time as it is asked for.

    It makes each folder the process's current one while it reads it: names are then listed as bytes, which costs a
    sixth less than text. The current folder is left wherever the walk ended, so a walk belongs in a process of its own.

    Args:
        root: Absolute path of the root; a link there is followed, since it was named by a person.
        selection: What to find.
        settle: Whether stamps are kept, for which each folder is looked at again once it was read; where they have
            moved, its modification time becomes :data:`~runner.scan.part.UNKNOWN`.

    Attributes:
        fd: The open root.
        identity: Its device and inode.
        branches: Whether it has more than one subfolder, which is known before it is read; False where links are not
            counted.

    Raises:
        ScanError: If the root is missing, not a folder or unreadable.
    """

    def __init__(self, root: bytes, selection: Selecting, *, settle: bool = False) -> None:
        self._matcher = Matcher(selection)
        self._stats = selection.track == "stat"
        self._settle = settle
        self._counting = devices_counting_subfolders()
        self._path = root
        self.fd = open_root(root)
        root_stat = os.fstat(self.fd)
        self.identity = (root_stat.st_dev, root_stat.st_ino)
        # Two links are its own; ext4 counts only one where there are too many.
        self.branches = root_stat.st_dev in self._counting and root_stat.st_nlink not in {2, 3}
        self._only_device = root_stat.st_dev if selection.one_file_system else None

    def close(self) -> None:
        """Close the root."""
        os.close(self.fd)

    def check_root(self) -> None:
        """Make sure that the root is still the folder that was opened.

        Raises:
            ScanError: If it has vanished or been replaced, so that what was read says nothing about it.
        """
        try:
            now = os.stat(self._path)
        except OSError as error:
            raise root_error(self._path, error) from error
        if (now.st_dev, now.st_ino) != self.identity:
            raise ScanError(f"the root {os.fsdecode(self._path)!r} was replaced while it was scanned; run it again")

    def read(self, starts: Iterable[bytes], report: Report, *, descend: bool = True) -> Part:
        """Read folders and everything below them.

        Args:
            starts: Paths of folders relative to the root; empty for the root itself.
            report: Told of progress every few folders.
            descend: Whether subfolders are read as well, or left.

        Returns:
            What was read, and which folders are left.

        Raises:
            ScanError: If the process runs out of descriptors or memory.
        """
        waiting = Waiting(self.fd)
        try:
            waiting.add_starts(starts)
            return self.go_on(waiting, report, descend=descend)
        finally:
            waiting.close()

    def go_on(self, waiting: Waiting, report: Report, *, until: Until | None = None, descend: bool = True) -> Part:
        """Read folders that wait and everything below them, as :meth:`read` does; those that are left go on waiting.

        Args:
            waiting: The folders.
            report: Told of progress every few folders.
            until: Asked after each folder whether that is enough, given the work done so far, about one per entry
                listed; it may take out some of those that wait. None for all there are.
            descend: Whether subfolders are read as well, or left.

        Returns:
            What was read, another piece of the same part each time: its rows go on from those before.

        Raises:
            ScanError: If the process runs out of descriptors or memory.
        """
        try:
            return self._read(waiting, report, until, descend=descend)
        except OSError as error:
            raise ran_short(error) from error

    def stat_again(self, path: bytes, names: list[bytes], identity: tuple[int, int]) -> bytes | None:
        """Look again at the files found earlier in a folder whose list has not changed since.

        Args:
            path: The folder, relative to the root.
            names: The found names.
            identity: Device and inode of the folder.

        Returns:
            Their sizes and times as in :class:`~runner.scan.part.Part`; None if the folder has to be read after all.
        """
        part = Part()
        try:
            fd = os.open(path or b".", OPEN, dir_fd=self.fd)
        except OSError:
            return None
        try:
            now = os.fstat(fd)
            if (now.st_dev, now.st_ino) != identity:
                return None
            kept, stats = _stat_files(fd, names, part, lambda: path + b"/" if path else b"")
        finally:
            os.close(fd)
        return stats if kept == names and not part.problems else None

    def _read(self, waiting: Waiting, report: Report, until: Until | None, *, descend: bool) -> Part:
        part = Part()
        folders, before = waiting.folders, waiting.rows
        reported = entries = files = spent = 0
        while folders:
            # The newest first, which holds few folders open.
            parent, name = folders.pop()
            try:
                fd = waiting.open(parent, name)
            except OSError as error:
                self._note_folder(part, parent, name, error)
                continue
            keep = False
            try:
                listed, found, subfolders = self._list(fd, parent, name, part)
                if not descend:
                    prefix = _below(parent, name)
                    part.rest += [prefix + each for each in subfolders]
                elif subfolders:
                    waiting.add_subfolders(parent, name, fd, before + len(part.names) - 1, subfolders)
                    keep = True
            except OSError as error:
                self._note_folder(part, parent, name, error)
                continue
            finally:
                if not keep:
                    os.close(fd)
            entries += listed
            files += found
            spent += listed + _FOLDER_COST + (found * _STAT_COST if self._stats else 0)
            if len(part.names) - reported >= _REPORT_EVERY:
                report(len(part.names) - reported, entries, files)
                reported, entries, files = len(part.names), 0, 0
            if until is not None and folders and until(spent):
                break
        report(len(part.names) - reported, entries, files)
        waiting.rows += len(part.names)
        return part

    def _note_folder(self, part: Part, parent: Folder, name: bytes, error: OSError) -> None:
        """Record a folder that could not be read; one that is gone by now was simply removed a moment earlier."""
        if not name and error.errno not in _SHORTAGES:
            raise root_error(self._path, error) from error
        if error.errno == errno.ENOENT:
            part.unread.append(parent.prefix() + name)
        else:
            _note(part, parent.prefix() + name, error)

    def _list(self, fd: int, parent: Folder, name: bytes, part: Part) -> tuple[int, int, list[bytes]]:
        """Read one open folder into *part*; returns entries listed, files found and the subfolders to read."""
        before = os.fstat(fd)
        if self._only_device is not None and before.st_dev != self._only_device:
            part.unread.append(parent.prefix() + name)
            return 0, 0, []
        subfolders: list[bytes] = []
        names: list[bytes] = []
        found: list[bytes] = []
        leaf = before.st_nlink == 2 and before.st_dev in self._counting
        if leaf:
            names = _list_names(fd)
            found = self._matcher.pick(names)
            # A folder made in the meantime would be taken for a file. The second look costs a hundredth, so it is left
            # out where nothing was found or the files are looked at anyway.
            if found and not self._stats:
                after = os.fstat(fd)
                leaf = (after.st_nlink, after.st_mtime_ns) == (2, before.st_mtime_ns)
        if not leaf:
            names, subfolders = _tell_apart(fd)
            found = self._matcher.pick(names)
        listed = len(names) + len(subfolders)
        excludes = self._matcher.excludes
        if excludes is not None:
            prefix = _below(parent, name)
            found = [each for each in found if not excludes(each, prefix, False)]  # noqa: FBT003
            subfolders = [each for each in subfolders if not excludes(each, prefix, True)]  # noqa: FBT003
        stats = b""
        if self._stats and found:
            found.sort()
            found, stats = _stat_files(fd, found, part, partial(_below, parent, name))
        part.names.append(name if parent.row >= 0 else parent.prefix() + name)
        part.found.append(b"\0".join(found))
        part.stats.append(stats)
        part.places += PLACE.pack(parent.row, listed)
        if self._settle:
            after = os.fstat(fd)
            moved = (after.st_mtime_ns, after.st_ctime_ns) != (before.st_mtime_ns, before.st_ctime_ns)
            mtime_ns = UNKNOWN if moved else clamp(before.st_mtime_ns)
            part.stamps += STAMPS.pack(before.st_dev, before.st_ino, mtime_ns, clamp(before.st_ctime_ns))
        return listed, len(found), subfolders


def _list_names(fd: int) -> list[bytes]:
    """List an open folder."""
    try:
        os.fchdir(fd)
    except PermissionError:  # it may be read but not entered
        return list(map(os.fsencode, os.listdir(fd)))
    return os.listdir(b".")


def _tell_apart(fd: int) -> tuple[list[bytes], list[bytes]]:
    """List an open folder: what is no folder, and what is."""
    try:
        os.fchdir(fd)
    except PermissionError:
        with os.scandir(fd) as iterator:
            entries: list[os.DirEntry[Any]] = list(iterator)
        names = [os.fsencode(entry.name) for entry in entries]
    else:
        with os.scandir(b".") as listed:
            entries = list(listed)
        names = list(map(_name, entries))
    are_folders = [entry.is_dir(follow_symlinks=False) for entry in entries]
    return list(compress(names, map(not_, are_folders))), list(compress(names, are_folders))


def _below(parent: Folder, name: bytes) -> bytes:
    """Give the path of a folder with a slash behind it; empty for the root."""
    return parent.prefix() + name + b"/" if name else b""


def _note(part: Part, path: bytes, error: OSError) -> None:
    if error.errno in _SHORTAGES:
        raise error
    part.problems.append((path, error.errno or 0, reason_of(error)))


def _stat_files(fd: int, found: list[bytes], part: Part, prefix: Callable[[], bytes]) -> tuple[list[bytes], bytes]:
    """Stat found names without following links; drops those that are gone or turned into folders.

    Args:
        fd: Their open folder.
        found: The names.
        part: Takes a problem for each that can't be looked at.
        prefix: Gives the folder's path with a slash behind it.

    Returns:
        The names left, and size in bytes and modification time in nanoseconds of each, packed.
    """
    try:
        os.fchdir(fd)
        entries = list(map(os.lstat, found))
        numbers = array(TYPE_CODE, chain.from_iterable(map(_size_and_time, entries)))
    except (OSError, OverflowError):
        return _stat_one_by_one(fd, found, part, prefix)
    if UNKNOWN in numbers or any(entry.st_mode & _KIND == _FOLDER for entry in entries):
        return _stat_one_by_one(fd, found, part, prefix)
    return found, numbers.tobytes()


def _stat_one_by_one(fd: int, found: list[bytes], part: Part, prefix: Callable[[], bytes]) -> tuple[list[bytes], bytes]:
    stats: list[tuple[int, int] | None] = []
    kept = []
    for name in found:
        try:
            entry = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.ENOENT:
                continue
            _note(part, prefix() + name, error)
            stats.append(None)
        else:
            if entry.st_mode & _KIND == _FOLDER:
                continue
            stats.append((entry.st_size, entry.st_mtime_ns))
        kept.append(name)
    return kept, pack_stats(stats)
