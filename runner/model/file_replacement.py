"""Atomic replacement of a file."""

import os
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE, S_ISREG

from runner.model.links import create_file, open_parent

# Collectors of metrics read files that end in .prom, and service managers those that end like a unit.
_SUFFIX = ".new"
# Collectors and service managers, which are other users, must read it.
_MODE = 0o644


def replace_file(path: Path, content: bytes, *, durable: bool, create: bool = False, mode: int = _MODE) -> None:
    """Write a file atomically, with the mode of the present one.

    Args:
        path: Its path; a link is replaced.
        content: The new content.
        durable: Whether it is on the disk before it takes the place.
        create: Whether to create missing directories, for this user alone.
        mode: The mode of a new file, by default readable by everybody.

    Raises:
        OSError: If it can't be, or another user's link is on the path; what was there before stays.
    """
    with open_parent(os.fspath(path), create=create) as (directory, name):
        beside = os.fsencode(f".{path.name}.{os.urandom(4).hex()}{_SUFFIX}")
        descriptor = create_file(directory, beside)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(descriptor, _mode_of(directory, name, mode))
                if durable:
                    os.fsync(descriptor)
            os.replace(beside, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside, dir_fd=directory)
            raise


def _mode_of(directory: int, name: bytes, otherwise: int) -> int:
    with suppress(FileNotFoundError):
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        if S_ISREG(mode):
            return S_IMODE(mode)
    return otherwise


def remove_leftovers(path: Path) -> None:
    """Remove the files that a process left when it was killed while it replaced a file."""
    with suppress(OSError):
        for beside in path.parent.iterdir():
            if beside.name.startswith(f".{path.name}.") and beside.name.endswith(_SUFFIX):
                beside.unlink()
