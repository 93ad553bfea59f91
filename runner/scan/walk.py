"""The walk: iterative, on open folders, with bounded descriptors, and problems instead of exceptions.

A folder is always opened by one name relative to its open parent and never through a link, so that neither depth
nor PATH_MAX nor a folder swapped for a link in mid-scan can stop the walk or lead it outside the root.
"""

from __future__ import annotations

import errno
import os
import sys
from array import array
from collections import deque

from runner.model.errors import ScanError
from runner.scan.filesystems import devices_counting_subfolders
from runner.scan.match import Matcher
from runner.scan.part import TYPE_CODE, UNKNOWN, Part, clamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from runner.scan.query import Selecting

    # Takes the folders read, entries listed and files found since the last report.
    Report: TypeAlias = Callable[[int, int, int], None]

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()

# The most folders held open while their subfolders wait to be read. Listing a folder takes two descriptors more, and
# the rest of the process needs some too, so no more than a quarter of those allowed are held.
_MAX_OPEN = 128
# What reading a folder, or the stat of a file, costs beside listing one entry; measured on a warm ext4.
_FOLDER_COST, _STAT_COST = 50, 8
# How many folders are read between two reports of progress.
_REPORT_EVERY = 64

# What the process lacks, not what the tree has: no folder is to blame, so the scan as a whole fails.
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class _Folder:
    """A folder that has subfolders waiting to be read."""

    __slots__ = ("fd", "identity", "name", "parent", "prefix", "waiting")

    def __init__(self, parent: _Folder | None, name: str, prefix: str, fd: int) -> None:
        self.parent = parent
        self.name = name
        self.prefix = prefix  # its path with a slash behind it; empty for the root
        self.fd = fd  # -1 while it is closed to save descriptors
        self.identity: tuple[int, int] | None = None
        self.waiting = 0


class Walker:
    """Reads folders below one root, as many at a time as it is asked for.

    Args:
        root: Absolute path of the root; a link there is followed, since it was named by a person.
        selection: What to find.

    Raises:
        ScanError: If the root is missing, not a folder or unreadable.
    """

    def __init__(self, root: bytes, selection: Selecting) -> None:
        self._matcher = Matcher(selection)
        self._stats = selection.track == "stat"
        self._counting = devices_counting_subfolders()
        self._path = root
        self._fd = open_root(root)
        root_stat = os.fstat(self._fd)
        self._identity = (root_stat.st_dev, root_stat.st_ino)
        self._only_device = root_stat.st_dev if selection.one_file_system else None

    def close(self) -> None:
        """Close the root."""
        os.close(self._fd)

    def check_root(self) -> None:
        """Make sure that the root is still the folder that was opened.

        Raises:
            ScanError: If it has vanished or been replaced, so that what was read says nothing about it.
        """
        try:
            now = os.stat(self._path)
        except OSError as error:
            raise root_error(self._path, error) from None
        if (now.st_dev, now.st_ino) != self._identity:
            raise ScanError(f"the root {os.fsdecode(self._path)!r} was replaced while it was scanned; run it again")

    def read(
        self, starts: Iterable[str], report: Report, *, budget: float = float("inf"), depth_first: bool = True
    ) -> Part:
        """Read folders and everything below them until the budget is spent.

        Args:
            starts: Paths of folders relative to the root; empty for the root itself.
            report: Told of progress every few folders.
            budget: The most work to do, about one per entry listed; the last folder may exceed it.
            depth_first: Whether the newest folder is read first, which holds few folders open, or the oldest.

        Returns:
            What was read, and which folders are left.

        Raises:
            ScanError: If the process runs out of descriptors or memory.
        """
        walk = _Walk(self._fd)
        try:
            for start in starts:
                walk.add_start(start)
            return self._read(walk, report, budget, depth_first=depth_first)
        except OSError as error:
            raise ScanError(f"the scan ran short: {error.strerror}; raise the limit or run fewer at a time") from error
        finally:
            walk.close()

    def _read(self, walk: _Walk, report: Report, budget: float, *, depth_first: bool) -> Part:
        part = Part()
        waiting = walk.waiting
        take = waiting.pop if depth_first else waiting.popleft
        reported = entries = files = 0
        spent = 0.0
        while waiting:
            if spent >= budget:
                part.rest = [parent.prefix + name for parent, name in waiting]
                break
            parent, name = take()
            path = parent.prefix + name
            try:
                fd = walk.open(parent, name)
            except OSError as error:
                self._note_folder(part, path, error)
                continue
            keep = False
            try:
                listed, found, subfolders = self._list(fd, path, part)
                if subfolders:
                    walk.add_subfolders(parent, name, path, fd, subfolders)
                    keep = True
            except OSError as error:
                self._note_folder(part, path, error)
                continue
            finally:
                if not keep:
                    os.close(fd)
            entries += listed
            files += found
            spent += listed + _FOLDER_COST + (found * _STAT_COST if self._stats else 0)
            if len(part.rows) - reported >= _REPORT_EVERY:
                report(len(part.rows) - reported, entries, files)
                reported, entries, files = len(part.rows), 0, 0
        report(len(part.rows) - reported, entries, files)
        return part

    def _note_folder(self, part: Part, path: str, error: OSError) -> None:
        """Record a folder that could not be read; one that is gone by now was simply removed a moment earlier."""
        if not path and error.errno not in _SHORTAGES:
            raise root_error(self._path, error)
        if error.errno != errno.ENOENT:
            _note(part, path, error)

    def _list(self, fd: int, path: str, part: Part) -> tuple[int, int, list[str]]:
        """Read one open folder into *part*; returns entries listed, files found and the subfolders to read."""
        folder = os.fstat(fd)
        if self._only_device is not None and folder.st_dev != self._only_device:
            return 0, 0, []
        subfolders: list[str] = []
        if folder.st_nlink == 2 and folder.st_dev in self._counting:
            names = os.listdir(fd)
            listed = len(names)
            suffixes = self._matcher.suffixes
            if suffixes is not None:
                found = [name for name in names if name.endswith(suffixes)]
            else:
                found = list(filter(self._matcher.matches, names))
        else:
            matches = self._matcher.matches
            found = []
            listed = 0
            with os.scandir(fd) as iterator:
                for entry in iterator:
                    listed += 1
                    if entry.is_dir(follow_symlinks=False):
                        subfolders.append(entry.name)
                    elif matches(entry.name):
                        found.append(entry.name)
        excludes = self._matcher.excludes
        if excludes is not None:
            prefix = path + "/" if path else ""
            found = [name for name in found if not excludes(name, prefix + name, False)]  # noqa: FBT003
            subfolders = [name for name in subfolders if not excludes(name, prefix + name, True)]  # noqa: FBT003
        found.sort()
        stats = b""
        if self._stats and found:
            found, stats = _stat_files(fd, path, found, part)
        part.rows.append(
            (
                path.encode(_ENCODING, _ERRORS),
                "\0".join(found).encode(_ENCODING, _ERRORS),
                stats,
                listed,
                folder.st_dev,
                folder.st_ino,
                clamp(folder.st_mtime_ns),
                clamp(folder.st_ctime_ns),
            )
        )
        return listed, len(found), subfolders


class _Walk:
    """The folders that wait to be read, and which of their parents are held open meanwhile."""

    def __init__(self, root_fd: int) -> None:
        self._root = _Folder(None, "", "", root_fd)
        self.waiting: deque[tuple[_Folder, str]] = deque()
        self._parents: dict[str, _Folder] = {"": self._root}
        self._open: deque[_Folder] = deque()
        allowed = os.sysconf("SC_OPEN_MAX")
        self._max_open = _MAX_OPEN if allowed < 0 else min(_MAX_OPEN, max(1, allowed // 4))

    def add_start(self, path: str) -> None:
        """Add a folder by its path, sharing the parents of earlier ones."""
        head, _, name = path.rpartition("/")
        parent = self._find_parent(head) if path else self._root
        parent.waiting += 1
        self.waiting.append((parent, name))

    def _find_parent(self, path: str) -> _Folder:
        missing = []
        while path not in self._parents:
            missing.append(path)
            path = path.rpartition("/")[0]
        folder = self._parents[path]
        for below in reversed(missing):
            folder = _Folder(folder, below.rpartition("/")[2], below + "/", -1)
            self._parents[below] = folder
        return folder

    def add_subfolders(self, parent: _Folder, name: str, path: str, fd: int, subfolders: list[str]) -> None:
        """Let an open folder's subfolders wait; the folder is kept open for them."""
        if not path:
            folder = self._root
            os.close(fd)
        else:
            folder = _Folder(parent, name, path + "/", fd)
            self._hold(folder)
        folder.waiting += len(subfolders)
        self.waiting.extend([(folder, subfolder) for subfolder in subfolders])

    def open(self, parent: _Folder, name: str) -> int:
        """Open a waiting folder, never through a link; its parent is closed with its last subfolder."""
        parent.waiting -= 1
        try:
            fd = parent.fd if parent.fd >= 0 else self._reopen(parent)
            # The root is opened anew by the dot: reading moves a descriptor's position, which others share.
            return os.open(name or ".", _OPEN, dir_fd=fd)
        finally:
            if not parent.waiting:
                self._let_go(parent)

    def _reopen(self, folder: _Folder) -> int:
        """Open a parent again, name by name from the nearest open folder above it."""
        names: list[_Folder] = []
        above = folder
        while above.fd < 0:
            names.append(above)
            assert above.parent is not None  # noqa: S101  the root is always open
            above = above.parent
        fd, passing = above.fd, -1
        for step in reversed(names):
            try:
                below = os.open(step.name, _OPEN, dir_fd=fd)
            finally:
                if passing >= 0:
                    os.close(passing)
            step_stat = os.fstat(below)
            identity = (step_stat.st_dev, step_stat.st_ino)
            if step.identity not in {None, identity}:
                os.close(below)
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            # Parents on the way that are still waited for stay open, or a deep tree would be reopened from its
            # root for every level of the way back up.
            if step.waiting or step is folder:
                step.fd = below
                self._hold(step)
                passing = -1
            else:
                passing = below
            fd = below
        return fd

    def _hold(self, folder: _Folder) -> None:
        self._open.append(folder)
        if len(self._open) > self._max_open:
            self._evict(self._open[0])

    def _evict(self, folder: _Folder) -> None:
        """Close a folder that is still waited for, remembering which one it was."""
        self._open.remove(folder)
        if folder.identity is None:
            folder_stat = os.fstat(folder.fd)
            folder.identity = (folder_stat.st_dev, folder_stat.st_ino)
        os.close(folder.fd)
        folder.fd = -1

    def _let_go(self, folder: _Folder) -> None:
        if folder is self._root or folder.fd < 0:
            return
        self._open.remove(folder)
        os.close(folder.fd)
        folder.fd = -1

    def close(self) -> None:
        """Close every folder still held open, but not the root."""
        for folder in self._open:
            os.close(folder.fd)
        self._open.clear()


def open_root(root: bytes) -> int:
    """Open the folder that a scan starts from.

    Raises:
        ScanError: If it is missing, not a folder or unreadable.
    """
    try:
        return os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise root_error(root, error) from None


def root_error(root: bytes, error: OSError) -> ScanError:
    """Say in one line why a root can't be scanned."""
    name = os.fsdecode(root)
    match error.errno:
        case errno.ENOENT:
            return ScanError(f"the root {name!r} does not exist; create it, mount it, or name another folder")
        case errno.ENOTDIR:
            return ScanError(f"the root {name!r} is not a folder; name the folder that holds the files")
        case errno.EACCES | errno.EPERM:
            return ScanError(f"the root {name!r} can't be read: {error.strerror}; grant this user read access")
        case _:
            return ScanError(f"the root {name!r} can't be read: {error.strerror}")


def _note(part: Part, path: str, error: OSError) -> None:
    if error.errno in _SHORTAGES:
        raise error
    part.problems.append((path.encode(_ENCODING, _ERRORS), error.errno or 0, error.strerror or str(error)))


def _stat_files(fd: int, path: str, found: list[str], part: Part) -> tuple[list[str], bytes]:
    """Stat found names without following links; drops those that are gone or turned into folders."""
    numbers = array(TYPE_CODE)
    kept = []
    for name in found:
        try:
            entry = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.ENOENT:
                continue
            _note(part, f"{path}/{name}" if path else name, error)
            numbers.extend((UNKNOWN, UNKNOWN))
        else:
            if entry.st_mode & 0o170000 == 0o040000:  # the mode of a folder
                continue
            numbers.extend((entry.st_size, clamp(entry.st_mtime_ns)))
        kept.append(name)
    return kept, numbers.tobytes()
