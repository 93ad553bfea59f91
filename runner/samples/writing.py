"""Writing of sample trees at any depth: every call is relative to one open directory, so no path grows too long."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from random import Random

from runner.model.errors import RunnerError, UsageError, is_condition, reason_of
from runner.samples.recipe import Kind, Recipe, arrange, draw_counts, fill, numbered

_PROGRESS_EVERY = 4096  # files
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}


def write_sample(recipe: Recipe, directory: Path, progress: Callable[[int], None] = lambda _files: None) -> None:
    """Write the tree of a recipe.

    Args:
        recipe: What to write.
        directory: The tree's root: missing, to be created with its parents, or an empty directory.
        progress: Called with the number of files written so far, every few thousand files and at the end.

    Raises:
        UsageError: If the directory is not empty or not writable; nothing was written.
        RunnerError: If writing failed midway; the files written so far remain.
    """
    writer = _Writer(recipe, _open_empty(directory), progress)
    try:
        writer.write()
    except OSError as error:
        if error.errno in _NOT_ALLOWED and not any(directory.iterdir()):
            raise UsageError(
                f"cannot write to {str(directory)!r}: {reason_of(error)}; choose a directory you may write to"
            ) from error
        entry = f" ({os.fsdecode(error.filename)!r})" if error.filename else ""
        raise RunnerError(
            f"cannot write the sample: {reason_of(error)}{entry}; {writer.files} of {recipe.files} files are left in "
            f"{str(directory)!r}, remove that directory before the next try"
        ) from error
    finally:
        os.close(writer.fd)


def _open_empty(directory: Path) -> int:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise UsageError(f"{str(directory)!r} is not empty; choose a new or an empty directory")
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{str(directory)!r} is not a directory or lies under a file; choose another path") from None
    except OSError as error:
        kind = RunnerError if is_condition(error) else UsageError
        raise kind(f"cannot make the directory {str(directory)!r}: {reason_of(error)}; choose another path") from error


class _Writer:
    """A traversal that creates a tree, with one directory open at a time.

    Attributes:
        fd: Descriptor of the current directory.
        files: Number of files written.
    """

    def __init__(self, recipe: Recipe, fd: int, progress: Callable[[int], None]) -> None:
        self.fd = fd
        self.files = 0
        self._recipe = recipe
        self._progress = progress
        # Files take their kinds in the order in which they are written, so n rounds have exactly n times each share.
        self._kinds = cycle(arrange(recipe.kinds))
        self._random = Random(recipe.seed)  # noqa: S311 - reproducible is the point
        # Whole microseconds, because a float of seconds does not hold them all.
        since_epoch = recipe.modified_at - datetime(1970, 1, 1, tzinfo=UTC)
        modified_ns = since_epoch // timedelta(microseconds=1) * 1000
        self._times = (modified_ns, modified_ns)

    def write(self) -> None:
        for stray in self._recipe.strays:
            self._write_file(stray.name.encode(), stray)
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
                name = numbered(level.name, made[-1])
                os.mkdir(name, dir_fd=self.fd)
                self._change_to(name)
                for number, kind in enumerate(islice(self._kinds, next(counts)), start=1):
                    self._write_file(numbered(kind.name, number), kind)
                made.append(0)
            else:
                made.pop()
                if made:
                    os.utime(self.fd, ns=self._times)
                    self._change_to(b"..")
        with suppress(PermissionError):  # the root may be another user's writable directory
            os.utime(self.fd, ns=self._times)
        self._progress(self.files)

    def _change_to(self, name: bytes) -> None:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self.fd)
        os.close(self.fd)
        self.fd = fd

    def _write_file(self, name: bytes, kind: Kind) -> None:
        content = fill(kind, self._random)
        file = os.open(name, _NEW_FILE, 0o666, dir_fd=self.fd)
        try:
            while content:  # a nearly full disk accepts a part
                content = content[os.write(file, content) :]
            os.utime(file, ns=self._times)
        finally:
            os.close(file)
        self.files += 1
        if self.files % _PROGRESS_EVERY == 0:
            self._progress(self.files)
