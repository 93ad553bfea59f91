"""Faults of the machine: no space, no inodes, no descriptors, and a file system that became read-only."""

import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path

from tests.benchmarks import fault_system as system
from tests.benchmarks.fault_checks import Wrong, check, wait_for
from tests.benchmarks.fault_kinds import Kind, expect, needs_mounts, rest
from tests.benchmarks.fault_world import World

# The attempts to mount while the daemon opens files.
_MOUNTED_WITHIN = 50

_QUESTIONS = (("history", "often"), ("jobs",), ("files", "other"), ("trends", "known"), ("changes", "large"), ("next",))


@contextmanager
def _no_space(disk: Path, room: int = 0) -> Iterator[None]:
    """Fill a disk up to a number of free bytes."""
    filler = disk / "filler"
    try:
        with suppress(OSError), filler.open("wb") as file:  # others may have taken some meanwhile
            os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(disk).free - room))
        yield
    finally:
        filler.unlink(missing_ok=True)


@contextmanager
def _no_inodes(disk: Path) -> Iterator[None]:
    """Use up the inodes of a disk."""
    fillers = disk / "fillers"
    try:
        with suppress(OSError):
            fillers.mkdir()
            while True:
                (fillers / str(os.statvfs(disk).f_ffree)).touch(exist_ok=False)
        yield
    finally:
        shutil.rmtree(fillers, ignore_errors=True)


@contextmanager
def _read_only_mount(world: World) -> Iterator[None]:
    """Attach the history's disk read-only over itself: only files that are open can be written."""
    for left in reversed(range(_MOUNTED_WITHIN)):
        system.mount("--bind", world.kept, world.kept)
        try:
            system.mount("--options", "remount,bind,ro", world.kept)
            break
        except OSError:  # the daemon has opened a file between the two
            system.unmount(world.kept)
            if not left:
                raise
            time.sleep(0.1)
    try:
        yield
    finally:
        system.unmount(world.kept)


@contextmanager
def _limited(pid: int, which: int, soft: int) -> Iterator[None]:
    before = resource.prlimit(pid, which)
    resource.prlimit(pid, which, (soft, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, which, before)


def _endure(shortage: Callable[[World], AbstractContextManager[None]], world: World) -> None:
    """Run the daemon in a shortage, and ask a question meanwhile."""
    with shortage(world):
        rest(world, 1.2, 0.2)
        if world.random.random() < 0.5:
            expect(world, (0, 1), *world.random.choice(_QUESTIONS))


_SHORTAGES: dict[str, Callable[[World], AbstractContextManager[None]]] = {
    "disk full": lambda world: _no_space(world.kept, world.random.choice((0, 4_096, 20_000))),
    "no inodes left": lambda world: _no_inodes(world.kept),
    "temporary disk full": lambda world: _no_space(world.temporary),
    "no inodes left for temporary files": lambda world: _no_inodes(world.temporary),
    "history mounted read-only": _read_only_mount,
}


def _start_daemon(world: World) -> None:
    world.kill_daemon()
    name, shortage = world.random.choice(list(_SHORTAGES.items()))
    with shortage(world):
        check(f"the daemon, {name},", (None, 1), *world.start_daemon())
        expect(world, (0, 1), "run", "often")


def _fill_saving(world: World) -> None:
    world.trees.change("large", 400)
    with _no_space(world.kept, world.random.randrange(50_000, 400_000)):
        rest(world, 3, 1.8)


def _remount_read_only(world: World) -> None:
    world.kill_daemon()

    def remounted() -> bool:
        with suppress(OSError):  # a process that was killed has not gone
            system.mount("--options", "remount,ro", world.kept)
            return True
        return False

    wait_for(remounted, "no file is open to be written", 10)
    before = sorted(world.kept.rglob("*"))
    try:
        check("the daemon", (1,), *world.start_daemon(), says="read-only")
        refused = world.random.choice((("run", "often"), ("pause", "other"), ("prune", "--keep", "9")))
        expect(world, (1,), *refused, says="read-only")
        for question in world.random.sample(_QUESTIONS, 2):
            expect(world, (0,), *question)
    finally:
        system.mount("--options", "remount,rw", world.kept)
    if sorted(world.kept.rglob("*")) != before:
        raise Wrong("leftovers", "files beside a read-only database are others than before")


def _limit_files(world: World) -> None:
    world.trees.change("large", 200)
    log = world.database.with_name("runner.db-wal")
    size = log.stat().st_size if log.exists() else 0
    with _limited(world.pid(), resource.RLIMIT_FSIZE, world.random.randrange(size + 8_000)):
        rest(world, 2, 0.5)


def _limit_descriptors(world: World) -> None:
    held = max(int(path.name) for path in Path(f"/proc/{world.pid()}/fd").iterdir())
    with _limited(world.pid(), resource.RLIMIT_NOFILE, max(3, held - world.random.randrange(-6, 4))):
        rest(world, 2, 0.3)


KINDS = (
    *(Kind(name, partial(_endure, shortage), needs=needs_mounts) for name, shortage in _SHORTAGES.items()),
    Kind("daemon started in a shortage", _start_daemon, needs=needs_mounts),
    Kind("disk full in mid-save", _fill_saving, needs=needs_mounts),
    Kind("file system read-only", _remount_read_only, needs=needs_mounts),
    Kind("files may not grow", _limit_files),
    Kind("no descriptors left", _limit_descriptors),
)
