"""The root directory of a scan."""

from __future__ import annotations

import errno
import os

from runner.model.errors import ScanError, reason_of


def open_root(root: bytes) -> int:
    """Open the root of a scan; raise ScanError if it is missing, not a directory or unreadable."""
    try:
        return os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise root_error(root, error) from error


def root_error(root: bytes, error: OSError) -> ScanError:
    """Return in one line why a root can't be scanned."""
    match error.errno:
        case errno.ENOENT:
            reason = "does not exist; create it, mount it, or name another directory"
        case errno.ENOTDIR:
            reason = "is not a directory; name the directory that holds the files"
        case errno.EACCES | errno.EPERM:
            reason = f"can't be read: {reason_of(error)}; grant this user read access"
        case _:
            reason = f"can't be read: {reason_of(error)}"
    return ScanError(f"the root {os.fsdecode(root)!r} {reason}")
