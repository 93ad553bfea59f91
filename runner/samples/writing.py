"""Writing of sample trees at any depth: every call is relative to one open directory, so no path grows too long."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from runner.model.errors import RunnerError, UsageError, reason_of
from runner.samples.recipe import Recipe, arrange, draw_counts, fill, numbered

_PROGRESS_EVERY = 4096  # files
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}


def write_sample(recipe: Recipe, directory: Path, progress: Callable[[int], None] | None = None) -> None:
    """Write the tree of a recipe.

    Args:
        recipe: What to write.
        directory: The tree's root: missing, to be created with its parents, or an empty directory.
        progress: Called with the number of files written so far, every few thousand files and at the end.

    Raises:
        UsageError: If the directory is not empty or not writable; nothing was written.
        RunnerError: If writing failed midway; the files written so far remain.
    """
    writer = _Writer(recipe, _open_empty(directory), progress or (lambda _files: None))
    try:
        writer.write()
    except OSError as error:
        if not writer.entries and error.errno in _NOT_ALLOWED:
            raise UsageError(
                f"cannot write to {str(directory)!r}: {reason_of(error)}; choose a folder you may write to"
            ) from error
        entry = f" ({os.fsdecode(error.filename)!r})" if error.filename else ""
        raise RunnerError(
            f"cannot write the sample: {reason_of(error)}{entry}; {writer.files} of {recipe.files} files are left in "
            f"{str(directory)!r}, remove that folder before the next try"
        ) from error
    finally:
        os.close(writer.fd)


def _open_empty(directory: Path) -> int:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise UsageError(f"{str(directory)!r} is not empty; choose a new or an empty folder")
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{str(directory)!r} is not a folder or lies under a file; choose another path") from None
    except OSError as error:
        raise UsageError(
            f"cannot make the folder {str(directory)!r}: {reason_of(error)}; choose another path"
        ) from error


class _Writer:
    """A traversal that creates a tree, with one directory open at a time.

    Attributes:
        fd: Descriptor of the current directory.
        files: Number of files written.
        entries: Number of files and directories created.
    """

    def __init__(self, recipe: Recipe, fd: int, progress: Callable[[int], None]) -> None:
        self.fd = fd
        self.files = 0
        self.entries = 0
        self._recipe = recipe
        self._progress = progress
        self._round = arrange(recipe.kinds)
        self._next = 0
        self._random = Random(recipe.seed)  # noqa: S311 - reproducible is the point
        # Whole microseconds, because a float of seconds does not hold them all.
        since_epoch = recipe.modified_at - datetime(1970, 1, 1, tzinfo=UTC)
        modified_ns = since_epoch // timedelta(microseconds=1) * 1000
        self._times = (modified_ns, modified_ns)

    def write(self) -> None:
        for stray in self._recipe.strays:
            self._write_file(stray.name.encode(), fill(stray.content, self._random))
        # For each depth the level there and its sequence of file counts.
        levels = [
            (level, counts)
            for n, level in enumerate(self._recipe.levels)
            for counts in [draw_counts(level, self._recipe.seed + n)]
            for _ in range(level.depth)
        ]
        made = [0]  # number of subdirectories created so far, from the root to the current directory
        while made:
            if len(made) <= len(levels) and made[-1] < levels[len(made) - 1][0].folders:
                level, counts = levels[len(made) - 1]
                made[-1] += 1
                self._enter(numbered(level.name, made[-1]))
                self._write_files(next(counts))
                made.append(0)
            else:
                made.pop()
                if made:
                    os.utime(self.fd, ns=self._times)
                    self._change_to(os.open("..", _DIRECTORY, dir_fd=self.fd))
        with suppress(PermissionError):  # the root may be another user's writable directory
            os.utime(self.fd, ns=self._times)
        self._progress(self.files)

    def _enter(self, name: bytes) -> None:
        os.mkdir(name, dir_fd=self.fd)
        self.entries += 1
        self._change_to(os.open(name, _DIRECTORY, dir_fd=self.fd))

    def _change_to(self, fd: int) -> None:
        os.close(self.fd)
        self.fd = fd

    def _write_files(self, count: int) -> None:
        for number in range(1, count + 1):
            kind = self._round[self._next]
            self._next = (self._next + 1) % len(self._round)
            self._write_file(numbered(kind.name, number), fill(kind.content, self._random))

    def _write_file(self, name: bytes, content: bytes) -> None:
        file = os.open(name, _NEW_FILE, 0o666, dir_fd=self.fd)
        self.entries += 1
        try:
            while content:  # a nearly full disk accepts a part
                content = content[os.write(file, content) :]
            os.utime(file, ns=self._times)
        finally:
            os.close(file)
        self.files += 1
        if self.files % _PROGRESS_EVERY == 0:
            self._progress(self.files)
