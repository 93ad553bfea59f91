"""Writes the tree of a recipe, at any depth: every call is relative to one open folder, so no path grows too long."""

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
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}


def write_sample(recipe: Recipe, directory: Path, progress: Callable[[int], None] | None = None) -> None:
    """Write the tree of a recipe.

    Args:
        recipe: What to write.
        directory: The tree's root; made if missing, parents included, else an empty folder.
        progress: Called with the number of files written so far, every few thousand and at the end.

    Raises:
        UsageError: If the directory is not an empty folder, or may not be written to; nothing was written then.
        RunnerError: If writing stopped midway; what was written is left there.
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
        os.close(writer.folder)


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
    """Walks through a tree while making it, with one folder open at a time.

    Attributes:
        folder: Descriptor of the folder it stands in.
        files: How many files it has written.
        entries: How many files and folders it has made.
    """

    def __init__(self, recipe: Recipe, folder: int, progress: Callable[[int], None]) -> None:
        self.folder = folder
        self.files = 0
        self.entries = 0
        self._recipe = recipe
        self._progress = progress
        self._round = arrange(recipe.kinds)
        self._turn = 0
        self._random = Random(recipe.seed)  # noqa: S311 - reproducible is the point
        # Whole microseconds, because a float of seconds does not hold them all.
        since_epoch = recipe.modified_at - datetime(1970, 1, 1, tzinfo=UTC)
        modified_ns = since_epoch // timedelta(microseconds=1) * 1000
        self._times = (modified_ns, modified_ns)

    def write(self) -> None:
        for stray in self._recipe.strays:
            self._write_file(stray.name.encode(), fill(stray.content, self._random))
        # For each depth the level that lies there and its sequence of file counts.
        levels = [
            (level, counts)
            for n, level in enumerate(self._recipe.levels)
            for counts in [draw_counts(level, self._recipe.seed + n)]
            for _ in range(level.depth)
        ]
        made = [0]  # how many subfolders each folder has by now, from the root to the one it stands in
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
                    os.utime(self.folder, ns=self._times)
                    self._stand_in(os.open("..", _FOLDER, dir_fd=self.folder))
        with suppress(PermissionError):  # the root may be someone else's folder that we may write to
            os.utime(self.folder, ns=self._times)
        self._progress(self.files)

    def _enter(self, name: bytes) -> None:
        os.mkdir(name, dir_fd=self.folder)
        self.entries += 1
        self._stand_in(os.open(name, _FOLDER, dir_fd=self.folder))

    def _stand_in(self, folder: int) -> None:
        os.close(self.folder)
        self.folder = folder

    def _write_files(self, count: int) -> None:
        for number in range(1, count + 1):
            kind = self._round[self._turn]
            self._turn = (self._turn + 1) % len(self._round)
            self._write_file(numbered(kind.name, number), fill(kind.content, self._random))

    def _write_file(self, name: bytes, content: bytes) -> None:
        file = os.open(name, _NEW_FILE, 0o666, dir_fd=self.folder)
        self.entries += 1
        try:
            while content:  # a disk that is nearly full takes a part
                content = content[os.write(file, content) :]
            os.utime(file, ns=self._times)
        finally:
            os.close(file)
        self.files += 1
        if self.files % _PROGRESS_EVERY == 0:
            self._progress(self.files)
