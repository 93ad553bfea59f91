"""The pending directories of a walk, and the descriptors of their parents."""

from __future__ import annotations

import errno
import os
from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Maximum number of open parents of pending directories. Listing a directory takes two more descriptors and the rest
# of the process some too, so at most a quarter of the allowed number is used.
MAX_OPEN = 128

# Other processes receive directories as paths. Longest parent path of a shared directory, approximate size of one
# share, and largest total size if all pending directories are shared; in bytes.
_LONGEST = 4096
_MOST_TAKEN = 1 << 20
_MOST_SHARED = 1 << 24

OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Directory:
    """A directory with pending subdirectories.

    Attributes:
        row: Number of its row in the part being read; -1 if it has none there.
        identity: Its device and inode; None if it was not read.
        length: Bytes of its path with a trailing slash.
        pending: Number of pending subdirectories.
        fd: Its descriptor; -1 while it is closed to save descriptors.
    """

    __slots__ = ("fd", "identity", "length", "name", "parent", "pending", "row")

    def __init__(
        self, parent: Directory | None, name: bytes, row: int = -1, identity: tuple[int, int] | None = None
    ) -> None:
        self.parent = parent
        self.name = name
        self.row = row
        self.identity = identity
        self.length: int = parent.length + len(name) + 1 if parent is not None else 0
        self.pending = 0
        self.fd = -1

    def prefix(self) -> bytes:
        """Return its path with a trailing slash; empty for the root."""
        names = [b""]
        directory = self
        while directory.parent is not None:
            names.append(directory.name)
            directory = directory.parent
        return b"/".join(reversed(names))


class Pending:
    """Directories still to be read, each known by its parent and its name there.

    Args:
        root_fd: The open root; the caller closes it.

    Attributes:
        directories: Parent and name of each, the next one last.
    """

    def __init__(self, root_fd: int) -> None:
        self._root = Directory(None, b"")
        self._root.fd = root_fd
        self.directories: list[tuple[Directory, bytes]] = []
        self._open: list[Directory] = []
        allowed = os.sysconf("SC_OPEN_MAX")
        self._max_open = MAX_OPEN if allowed < 0 else min(MAX_OPEN, max(1, allowed // 4))

    def add_starts(self, paths: Iterable[bytes]) -> None:
        """Add directories by their paths."""
        known: dict[tuple[Directory, bytes], Directory] = {}
        last, parent = b"", self._root
        for path in paths:
            head, _, name = path.rpartition(b"/")
            if head != last:  # most starts are siblings of the one before
                last, parent = head, self._root
                for step in head.split(b"/") if head else ():
                    parent = known.setdefault((parent, step), Directory(parent, step))
            parent.pending += 1
            self.directories.append((parent, name))

    def add_subdirectories(
        self, parent: Directory, name: bytes, fd: int, row: int, identity: tuple[int, int], names: list[bytes]
    ) -> None:
        """Add the subdirectories of an open directory, and keep it open for them."""
        if not name:
            directory = self._root
            directory.row = row
            os.close(fd)
        else:
            directory = Directory(parent, name, row, identity)
            self._keep_open(directory, fd)
        directory.pending += len(names)
        self.directories.extend([(directory, each) for each in names])

    def paths(self) -> list[bytes]:
        """Return the paths of all pending directories."""
        return [path for _, path in self._with_paths(self.directories)]

    def _with_paths(self, directories: Iterable[tuple[Directory, bytes]]) -> Iterator[tuple[Directory, bytes]]:
        """Yield the parent and the path of each of these directories."""
        last, prefix = self._root, b""
        for directory, name in directories:
            if directory is not last:  # most are siblings of the one before
                last, prefix = directory, directory.prefix()
            yield directory, prefix + name

    def can_split(self) -> bool:
        """Return whether :meth:`take_half` would take some directories and leave others."""
        return len(self.directories) > 1 and self.directories[0][0].length <= _LONGEST

    def can_be_shared(self) -> bool:
        """Return whether all pending directories can be shared; deep ones are cheaper to read than to pass by path."""
        return self.can_split() and len(self.directories) * self.directories[0][0].length <= _MOST_SHARED

    def take_half(self) -> list[bytes]:
        """Remove every other pending directory, the oldest first: they are the highest and contain most.

        Deep directories stay, since another process would have to open all those above them and store long paths.
        """
        taken: list[bytes] = []
        size = 0
        for directory, path in self._with_paths(islice(self.directories, 0, None, 2)):
            if directory.length > _LONGEST or size > _MOST_TAKEN:
                break
            taken.append(path)
            size += len(path)
            self._remove_from(directory)
        del self.directories[: 2 * len(taken) : 2]
        return taken

    def open(self, parent: Directory, name: bytes) -> int:
        """Open a pending directory, never through a link; its parent is closed with its last subdirectory."""
        try:
            fd = parent.fd if parent.fd >= 0 else self._reopen(parent)
            # A root that may be read but not entered does not even allow to open its ".".
            return os.open(name, OPEN, dir_fd=fd) if name else os.dup(fd)
        finally:
            self._remove_from(parent)

    def _remove_from(self, directory: Directory) -> None:
        directory.pending -= 1
        if not directory.pending:
            self._close(directory)

    def _reopen(self, directory: Directory) -> int:
        """Open a parent again, name by name from the nearest open directory above it.

        Those on the way stay open too, or a deep tree would be reopened from its root for every level of the way back.
        """
        steps: list[Directory] = []
        while directory.fd < 0:
            steps.append(directory)
            assert directory.parent is not None  # noqa: S101  the root is always open
            directory = directory.parent
        fd = directory.fd
        for step in reversed(steps):
            fd = os.open(step.name, OPEN, dir_fd=fd)
            status = os.fstat(fd)
            if step.identity not in {None, (status.st_dev, status.st_ino)}:
                os.close(fd)
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            self._keep_open(step, fd)
        return fd

    def _keep_open(self, directory: Directory, fd: int) -> None:
        directory.fd = fd
        self._open.append(directory)
        if len(self._open) > self._max_open:
            self._close(self._open[0])

    def _close(self, directory: Directory) -> None:
        if directory is not self._root and directory.fd >= 0:
            self._open.remove(directory)
            os.close(directory.fd)
            directory.fd = -1

    def close(self) -> None:
        """Close every directory but the root."""
        while self._open:
            self._close(self._open[0])
