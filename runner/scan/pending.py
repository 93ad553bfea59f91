"""The folders that wait to be read, and which of their parents are held open meanwhile."""

from __future__ import annotations

import errno
import os
from collections import deque
from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# The most folders held open while their subfolders wait to be read. Listing a folder takes two descriptors more, and
# the rest of the process needs some too, so no more than a quarter of those allowed are held.
MAX_OPEN = 128

# Folders are given to other processes by their paths. The longest path, in bytes, of a folder whose subfolders are; how
# much of such paths is taken at a time, about; and how much it may be, at most, if all that waits is shared out.
_LONGEST = 4096
_MOST_TAKEN = 1 << 20
_MOST_SHARED = 1 << 24

OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """A folder that has subfolders waiting to be read.

    Attributes:
        row: The number of its row in what is being read; -1 if it has none there.
        length: Bytes of its path with a slash behind it.
    """

    __slots__ = ("fd", "identity", "length", "name", "parent", "row", "waiting")

    def __init__(self, parent: Folder | None, name: bytes, fd: int, row: int = -1) -> None:
        self.parent = parent
        self.name = name
        self.fd = fd  # -1 while it is closed to save descriptors
        self.row = row
        self.length: int = parent.length + len(name) + 1 if parent is not None else 0
        self.identity: tuple[int, int] | None = None
        self.waiting = 0

    def prefix(self) -> bytes:
        """Give its path with a slash behind it; empty for the root."""
        if self.parent is None:
            return b""
        names = [b""]
        folder = self
        while folder.parent is not None:
            names.append(folder.name)
            folder = folder.parent
        return b"/".join(reversed(names))


class Waiting:
    """Folders that wait to be read, each known by an open parent and its name there.

    Args:
        root_fd: The open root, which stays the caller's.

    Attributes:
        folders: Parent and name of each, the one to be read next last.
        rows: How many were read so far.
    """

    def __init__(self, root_fd: int) -> None:
        self._root = Folder(None, b"", root_fd)
        self.folders: list[tuple[Folder, bytes]] = []
        self.rows = 0
        self._open: deque[Folder] = deque()
        allowed = os.sysconf("SC_OPEN_MAX")
        self._max_open = MAX_OPEN if allowed < 0 else min(MAX_OPEN, max(1, allowed // 4))

    def add_starts(self, paths: Iterable[bytes]) -> None:
        """Add folders by their paths, which share their parents."""
        known: dict[tuple[Folder, bytes], Folder] = {}
        last, parent = b"", self._root
        add = self.folders.append
        for path in paths:
            head, _, name = path.rpartition(b"/")
            if head != last:  # most starts lie beside the one before
                last, parent = head, self._find_parent(head, known)
            parent.waiting += 1
            add((parent, name))

    def _find_parent(self, path: bytes, known: dict[tuple[Folder, bytes], Folder]) -> Folder:
        folder = self._root
        for name in path.split(b"/") if path else ():
            below = known.get((folder, name))
            if below is None:
                below = known[folder, name] = Folder(folder, name, -1)
            folder = below
        return folder

    def add_subfolders(self, parent: Folder, name: bytes, fd: int, row: int, subfolders: list[bytes]) -> None:
        """Let an open folder's subfolders wait; the folder is kept open for them."""
        if not name:
            folder = self._root
            folder.row = row
            os.close(fd)
        else:
            folder = Folder(parent, name, fd, row)
            self._hold(folder)
        folder.waiting += len(subfolders)
        self.folders.extend([(folder, subfolder) for subfolder in subfolders])

    def paths(self) -> list[bytes]:
        """Give the paths of all that wait."""
        last, prefix = self._root, b""
        paths = []
        for folder, name in self.folders:
            if folder is not last:  # most wait beside the one before
                last, prefix = folder, folder.prefix()
            paths.append(prefix + name)
        return paths

    def can_part(self) -> bool:
        """Whether there is something to take and something to keep."""
        return len(self.folders) > 1 and self.folders[0][0].length <= _LONGEST

    def can_be_shared(self) -> bool:
        """Whether all that waits can be shared out; what lies deep is cheaper to read than to give by its paths."""
        return self.can_part() and len(self.folders) * self.folders[0][0].length <= _MOST_SHARED

    def take_half(self) -> list[bytes]:
        """Take out every other folder, those that have waited longest first: they lie highest and hold most.

        Whoever takes a folder that lies deep has to open all those above it again and to keep its path, so those are
        left, and no more is taken than is soon handed over.

        Returns:
            Their paths.
        """
        last, prefix = self._root, b""
        taken: list[bytes] = []
        size = 0
        for folder, name in islice(self.folders, 0, None, 2):
            if folder.length > _LONGEST or size > _MOST_TAKEN:
                break
            if folder is not last:
                last, prefix = folder, folder.prefix()
            taken.append(prefix + name)
            size += len(taken[-1])
            folder.waiting -= 1
            if not folder.waiting:
                self._let_go(folder)
        del self.folders[: 2 * len(taken) : 2]
        return taken

    def open(self, parent: Folder, name: bytes) -> int:
        """Open a waiting folder, never through a link; its parent is closed with its last subfolder."""
        parent.waiting -= 1
        try:
            fd = parent.fd if parent.fd >= 0 else self._reopen(parent)
            # The root may perhaps be read but not entered, so that not even its dot can be opened.
            return os.open(name, OPEN, dir_fd=fd) if name else os.dup(fd)
        finally:
            if not parent.waiting:
                self._let_go(parent)

    def _reopen(self, folder: Folder) -> int:
        """Open a parent again, name by name from the nearest open folder above it."""
        names: list[Folder] = []
        above = folder
        while above.fd < 0:
            names.append(above)
            assert above.parent is not None  # noqa: S101  the root is always open
            above = above.parent
        fd, passing = above.fd, -1
        for step in reversed(names):
            try:
                below = os.open(step.name, OPEN, dir_fd=fd)
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

    def _hold(self, folder: Folder) -> None:
        self._open.append(folder)
        if len(self._open) > self._max_open:
            self._evict(self._open[0])

    def _evict(self, folder: Folder) -> None:
        """Close a folder that is still waited for, remembering which one it was."""
        self._open.remove(folder)
        if folder.identity is None:
            folder_stat = os.fstat(folder.fd)
            folder.identity = (folder_stat.st_dev, folder_stat.st_ino)
        os.close(folder.fd)
        folder.fd = -1

    def _let_go(self, folder: Folder) -> None:
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
