"""Random changes, after each of which an incremental scan has to equal a full one.

On each file system, half of the trees are scanned by the rule as it is, with a rest now and then so that folders come
to be relied on; for the other half stamps are relied on after two ticks of the clock, so that nearly every folder is.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from runner.model.jobs import Selection, Track
from runner.scan import walk
from runner.scan.filesystems import find_filesystem
from runner.scan.rescan import SETTLED_AFTER_NS
from runner.scan.snapshot import Snapshot
from runner.strategies import incremental
from runner.strategies.base import ScanRequest
from runner.strategies.incremental import Incremental
from runner.strategies.sequential import Sequential
from tests.benchmarks.progress import make_parser, write_head, write_row
from tests.benchmarks.snapshots import scanned

# The clock that stamps files, which Python does not name; <linux/time.h>.
_CLOCK_REALTIME_COARSE = 5
_NAMES = ("a", "b", "c.md", "d")
# With fewer folders than this the tree is planted again, or it would wither to its root.
_FEWEST = 10
_FILES = ("x.md", "y.md", "z.txt", "c.md")
# By the rule as it is, how many rounds go between two rests.
_ROUNDS_A_REST = 20


def main() -> None:
    """Test every file system and print a table."""
    given = make_parser(__doc__, rounds=500, trees=6, seed=0, folder=[Path]).parse_args()
    write_head("file system", "relied on after", "rounds", "folders", "not read again", "differences")
    for where in given.folder or [Path("/tmp"), Path("/dev/shm")]:  # noqa: S108  two file systems
        for settled_after_ns in (SETTLED_AFTER_NS, two_ticks_ns()):
            read = there = 0
            wait = _rest if settled_after_ns == SETTLED_AFTER_NS else None
            for number in range(given.trees // 2):
                sys.stderr.write(f"\r{where}, tree {number + 1} of {given.trees // 2} ")
                with tempfile.TemporaryDirectory(dir=where) as folder:
                    seed = given.seed + number
                    counts = compare(
                        Path(folder), rounds=given.rounds, seed=seed, settled_after_ns=settled_after_ns, wait=wait
                    )
                read, there = read + counts[0], there + counts[1]
            kind = find_filesystem(bytes(where)) or str(where)
            rounds = given.rounds * (given.trees // 2)
            write_row(
                kind, f"{settled_after_ns / 1e6:.0f} ms", f"{rounds:,}", f"{there:,}", f"{1 - read / there:.0%}", 0
            )
    sys.stderr.write("\n")


def _rest(number: int) -> None:
    """Make the stamps of all folders become old enough, now and then."""
    if number % _ROUNDS_A_REST == _ROUNDS_A_REST - 1:
        time.sleep(SETTLED_AFTER_NS / 1e9)


class ChangingTree:
    """A small tree below an empty folder, and what can happen to it."""

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

    def _below(self) -> Path:
        return self._random.choice(self._folders()[1:])

    def _file(self) -> Path:
        return self._random.choice(self._folders()) / self._random.choice(_FILES)

    def _name(self) -> Path:
        return self._random.choice(self._folders()) / self._random.choice(_NAMES)

    def change(self) -> None:
        """Perform one change; what can't be done is left."""
        actions: tuple[Callable[[], object], ...] = (
            *(lambda: self._file().write_bytes(bytes(self._random.randrange(9))),) * 2,
            lambda: self._file().unlink(),
            *(lambda: self._name().mkdir(),) * 2,
            lambda: self._file().rename(self._file()),
            # A folder with all that is in it, over an empty one or to where there is none.
            lambda: self._below().rename(self._name()),
            lambda: shutil.rmtree(self._below()),
            *(self._write, self._replace, self._link, self._hide, self._turn),
        )
        with suppress(OSError, IndexError, shutil.Error):  # a folder into itself, a name that is taken, nothing there
            self._random.choice(actions)()
        if len(self._folders()) < _FEWEST:
            self._plant()

    def _write(self) -> None:
        """Edit a file without a change of its folder."""
        files = [path for path in self.root.rglob("*.md") if path.is_file()]
        self._random.choice(files).write_bytes(bytes(self._random.randrange(99)))

    def _replace(self) -> None:
        """Put another folder in a folder's place, with the same times."""
        folder = self._below()
        with _same_times(folder):
            shutil.rmtree(folder)
            folder.mkdir()
            (folder / self._random.choice(_FILES)).touch()

    def _link(self) -> None:
        """Put a link to another folder in a folder's place."""
        folder, target = self._below(), self._random.choice(self._folders())
        shutil.rmtree(folder)
        folder.symlink_to(target)

    def _hide(self) -> None:
        """Edit a folder and give it back its modification time."""
        folder = self._random.choice(self._folders())
        with _same_times(folder):
            (folder / self._random.choice(_FILES)).touch()
            (folder / self._random.choice(_FILES)).unlink()

    def _turn(self) -> None:
        """Convert a folder into a file, or a file into a folder."""
        path = self._random.choice(self._folders()) / "c.md"
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
            path.touch()
        else:
            path.unlink()
            path.mkdir()


@contextmanager
def _same_times(folder: Path) -> Iterator[None]:
    times = folder.stat()
    yield
    os.utime(folder, ns=(times.st_atime_ns, times.st_mtime_ns))


def findings(found: Snapshot) -> list[tuple[bytes, bytes, bytes]]:
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
        for name in ("_list_names", "_list_kinds"):
            patches.enter_context(patch.object(walk, name, counting(getattr(walk, name))))
        yield counts


def compare(
    folder: Path, *, rounds: int, seed: int, settled_after_ns: int, wait: Callable[[int], None] | None = None
) -> tuple[int, int]:
    """Update a tree in an empty folder and scan it, round after round; the current folder changes with the scans.

    Args:
        folder: On the file system to try.
        rounds: How often.
        seed: Of the chance.
        settled_after_ns: How old a folder's stamps have to be before they are relied on.
        wait: Called with the number of each round before it; may let time pass.

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
    with ExitStack() as patches:
        patches.enter_context(patch.object(incremental, "SETTLED_AFTER_NS", settled_after_ns))
        for name in ("_REPORT_WORK", "PIECE_WORK"):  # a few directories in each piece
            patches.enter_context(patch.object(walk, name, random.choice((5, 20, 5_000))))
        for number in range(rounds):
            if wait is not None:
                wait(number)
            for _ in range(random.choice((0, 0, 1, 1, 2, 5))):
                tree.change()
            with counted_listings() as counts:
                found, scan = scanned(Incremental(), request)
            full, _ = scanned(Sequential(), request)
            if random.random() < 0.3:  # in the very tick of the scan, before it is remembered
                tree.change()
            scan.end()
            for look in (findings, lambda found: sorted(found.problems), lambda found: found.directories):
                assert look(full) == look(found), f"round {number} of seed {seed}"
            read += counts[0]
            there += found.directories
    return read, there


def two_ticks_ns() -> int:
    """Return after what time at the latest another change has another stamp, with as much again to be sure."""
    return int(2 * time.clock_getres(_CLOCK_REALTIME_COARSE) * 1e9)


if __name__ == "__main__":
    main()
