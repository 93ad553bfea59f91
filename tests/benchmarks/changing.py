"""A tree that changes at random, and an incremental scan of it that has to equal a full one every time."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from runner.model.jobs import Selection, Track
from runner.scan import walk
from runner.scan.found import Found
from runner.strategies import incremental
from runner.strategies.base import ScanRequest
from runner.strategies.incremental import Incremental
from runner.strategies.sequential import Sequential

# The clock that stamps files, which Python does not name; <linux/time.h>.
_CLOCK_REALTIME_COARSE = 5
_NAMES = ("a", "b", "c.md", "d")
# With fewer folders than this the tree is planted again, or it would wither to its root.
_FEWEST = 10
_FILES = ("x.md", "y.md", "z.txt", "c.md")


class ChangingTree:
    """A small tree below a folder, and what can happen to it.

    Args:
        root: An empty folder.
        random: Where chance comes from.
    """

    def __init__(self, root: Path, random: Random) -> None:
        self.root = root
        self._random = random
        self._plant()

    def _plant(self) -> None:
        for first in _NAMES:
            for second in self._random.sample(_NAMES, 3):
                with suppress(OSError):  # something else has that name
                    (self.root / first / second).mkdir(parents=True, exist_ok=True)
                    (self.root / first / second / "x.md").write_bytes(b"1")

    def _folders(self) -> list[Path]:
        return [self.root, *(path for path in self.root.rglob("*") if path.is_dir() and not path.is_symlink())]

    def _some_folder(self, *, below: bool = False) -> Path:
        folders = self._folders()
        return self._random.choice(folders[1:] if below else folders)

    def change(self) -> None:
        """Perform one change; what can't be done is left."""
        action = self._random.choice(
            [
                *(self._add, self._add, self._write, self._remove, self._make, self._make, self._rename_file),
                *(self._move, self._clear, self._replace, self._link, self._hide, self._turn),
            ]
        )
        with suppress(OSError, IndexError, shutil.Error):  # a folder into itself, a name that is taken, nothing there
            action()
        if len(self._folders()) < _FEWEST:
            self._plant()

    def _add(self) -> None:
        (self._some_folder() / self._random.choice(_FILES)).write_bytes(bytes(self._random.randrange(9)))

    def _write(self) -> None:
        """Edit a file without a change of its folder."""
        files = [path for path in self.root.rglob("*.md") if path.is_file()]
        self._random.choice(files).write_bytes(bytes(self._random.randrange(99)))

    def _remove(self) -> None:
        (self._some_folder() / self._random.choice(_FILES)).unlink()

    def _make(self) -> None:
        (self._some_folder() / self._random.choice(_NAMES)).mkdir()

    def _rename_file(self) -> None:
        (self._some_folder() / self._random.choice(_FILES)).rename(self._some_folder() / self._random.choice(_FILES))

    def _move(self) -> None:
        """Move a folder with all that is in it, over an empty one or to where there is none."""
        self._some_folder(below=True).rename(self._some_folder() / self._random.choice(_NAMES))

    def _clear(self) -> None:
        shutil.rmtree(self._some_folder(below=True))

    def _replace(self) -> None:
        """Put another folder in a folder's place, with the same times."""
        folder = self._some_folder(below=True)
        times = folder.stat()
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / self._random.choice(_FILES)).touch()
        os.utime(folder, ns=(times.st_atime_ns, times.st_mtime_ns))

    def _link(self) -> None:
        """Put a link to another folder in a folder's place."""
        folder = self._some_folder(below=True)
        target = self._some_folder()
        shutil.rmtree(folder)
        folder.symlink_to(target)

    def _hide(self) -> None:
        """Edit a folder and give it back its modification time."""
        folder = self._some_folder()
        times = folder.stat()
        (folder / self._random.choice(_FILES)).touch()
        (folder / self._random.choice(_FILES)).unlink()
        os.utime(folder, ns=(times.st_atime_ns, times.st_mtime_ns))

    def _turn(self) -> None:
        """Convert a folder into a file, or a file into a folder."""
        path = self._some_folder() / "c.md"
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
            path.touch()
        else:
            path.unlink()
            path.mkdir()


def findings(found: Found) -> list[tuple[bytes, bytes, bytes]]:
    """Return path, names and stats of each folder in which something was found, in order."""
    return sorted(found.findings())


@contextmanager
def counted_listings() -> Iterator[list[int]]:
    """Count the folders that are read, by whichever scan, in this process."""
    counts = [0]

    def counting(plain: Callable[[int], Any]) -> Callable[[int], Any]:
        def listing(fd: int) -> Any:
            counts[0] += 1
            return plain(fd)

        return listing

    with ExitStack() as patches:
        for name in ("_list_names", "_tell_apart"):
            patches.enter_context(patch.object(walk, name, counting(getattr(walk, name))))
        yield counts


def compare(
    folder: Path, *, rounds: int, seed: int, settled_after_ns: int, wait: Callable[[int], None] | None = None
) -> tuple[int, int]:
    """Update a tree at random and scan it, round after round; the current folder changes with the scans.

    Args:
        folder: An empty folder on the file system to try.
        rounds: How often.
        seed: Of the chance.
        settled_after_ns: How old a folder's stamps have to be before they are relied on.
        wait: Told the round before each; may let time pass.

    Returns:
        How many folders the incremental scans read, and how many there were.

    Raises:
        AssertionError: If the incremental scan found something else than the full one; says in which round.
    """
    random = Random(seed)  # noqa: S311  chance, not secrets
    (folder / "tree").mkdir()
    tree = ChangingTree(folder / "tree", random)
    request = ScanRequest(
        root=os.fsencode(tree.root),
        selection=Selection(track=random.choice(list(Track))),
        workers=1,
        start_method="fork",
        cache=os.fsencode(folder / "remembered"),
    )
    read = there = 0
    with patch.object(incremental, "SETTLED_AFTER_NS", settled_after_ns):
        for number in range(rounds):
            if wait is not None:
                wait(number)
            for _ in range(random.choice((0, 0, 1, 1, 2, 5))):
                tree.change()
            with counted_listings() as counts:
                scan = Incremental().scan(request, lambda *_: None)
            full = Sequential().scan(request, lambda *_: None)
            if random.random() < 0.3:  # in the very tick of the scan, before it is remembered
                tree.change()
            scan.end()
            assert findings(full.found) == findings(scan.found), f"round {number} of seed {seed}"
            assert sorted(full.found.problems) == sorted(scan.found.problems), f"round {number} of seed {seed}"
            assert full.found.directories == scan.found.directories, f"round {number} of seed {seed}"
            read += counts[0]
            there += scan.found.directories
    return read, there


def two_ticks_ns() -> int:
    """Return after what time at the latest another change has another stamp, with as much again to be sure."""
    return int(2 * time.clock_getres(_CLOCK_REALTIME_COARSE) * 1e9)
