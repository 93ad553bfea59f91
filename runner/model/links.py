"""Creating files without following symbolic links that other users may have planted."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from stat import S_ISLNK, S_ISREG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# As many links as Linux follows in one path.
_MOST_LINKS = 40
# Directories that can be entered but not be listed will do, where the system has a way to open them.
_DIRECTORY = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class ForeignLink(PermissionError):
    """A symbolic link of another user is on a path."""


@contextmanager
def open_parent(path: str | bytes, *, create: bool = False, follow: bool = False) -> Iterator[tuple[int, bytes]]:
    """Open the directory of a file, which need not exist, following links of this user and of root alone.

    Args:
        path: The file's path.
        create: Whether to create missing directories, for this user alone.
        follow: Whether to follow the file itself where it is a link.

    Raises:
        ForeignLink: If a link of another user is on the path.
        OSError: If the directory can't be opened or created.
    """
    fd, name = _walk(os.fsencode(path), create=create, follow=follow)
    try:
        yield fd, name
    finally:
        os.close(fd)


def create_file(directory: int, name: bytes) -> int:
    """Create a file for this user alone, in an open directory that has nothing of that name; return its descriptor."""
    return os.open(name, _CREATE, 0o600, dir_fd=directory)


def open_own_file(directory: int, name: bytes) -> int:
    """Open a regular file of this user or of root to read it, else raise OSError; never wait for a planted pipe."""
    fd = os.open(name, _READ, dir_fd=directory)
    found = os.fstat(fd)
    if not S_ISREG(found.st_mode) or found.st_uid not in {0, os.geteuid()}:
        os.close(fd)
        raise PermissionError(errno.EPERM, "it is not a regular file of this user")
    return fd


def _walk(path: bytes, *, create: bool, follow: bool) -> tuple[int, bytes]:
    todo, links = path.split(b"/")[::-1], 0
    fd = os.open(b"/" if path.startswith(b"/") else b".", _DIRECTORY)
    try:
        while True:
            name = todo.pop()
            if name in {b"", b"."} and todo:
                continue
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False) if todo or follow else None
            except FileNotFoundError:
                found = None
            if found is not None and S_ISLNK(found.st_mode):
                links += 1
                _check_link(name, found, links)
                target = os.readlink(name, dir_fd=fd)
                todo += target.split(b"/")[::-1]
                name = b"/" if target.startswith(b"/") else b"."
            elif not todo:
                return fd, name
            elif found is None and create:
                with suppress(FileExistsError):  # another process was faster
                    os.mkdir(name, 0o700, dir_fd=fd)
            below = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = below
    except BaseException:
        os.close(fd)
        raise


def _check_link(name: bytes, found: os.stat_result, links: int) -> None:
    if found.st_uid not in {0, os.geteuid()}:
        raise ForeignLink(errno.EPERM, f"{os.fsdecode(name)!r} in it is another user's link; write where it leads to")
    if links > _MOST_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
