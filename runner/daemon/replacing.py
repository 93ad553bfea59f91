"""Replacing a file by another as a whole, whoever reads it meanwhile."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

# Collectors of metrics read what ends in .prom, and service managers what ends as a unit does.
_SUFFIX = ".new"


def replace_file(path: Path, content: bytes, *, durable: bool) -> None:
    """Put a file in its place whole, readable for everybody.

    Args:
        path: Its place.
        content: What is to be in it.
        durable: Whether it is on the disk before it takes the place.

    Raises:
        OSError: If it can't be; what was there before stays.
    """
    descriptor, name = tempfile.mkstemp(prefix=_prefix(path), suffix=_SUFFIX, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, 0o644)  # as collectors and managers want it, whatever the umask
            if durable:
                os.fsync(descriptor)
        os.replace(name, path)  # noqa: PTH105
    except BaseException:
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108
        raise


def remove_leftovers(path: Path) -> None:
    """Remove what a process has left beside a file that was killed while it replaced it."""
    with suppress(OSError):
        for beside in path.parent.iterdir():
            if beside.name.startswith(_prefix(path)) and beside.name.endswith(_SUFFIX):
                beside.unlink()


def _prefix(path: Path) -> str:
    return f".{path.name}."
