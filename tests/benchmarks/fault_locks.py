"""Faults beside the database: others hold its locks, read it for long, or plant links in its place."""

import fcntl
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.benchmarks.fault_checks import Wrong, check, wait_for
from tests.benchmarks.fault_kinds import Kind, expect, moment, rest
from tests.benchmarks.fault_world import World

# How long the command line waits for a lock, and the most that a -wal file keeps; see the product's own documentation.
_LOCK_TIMEOUT_S = 60.0
_WAL_BYTES = 4 * 1024 * 1024
# How long an interrupted command may take to end, and its exit codes; the latter before Python has started.
_INTERRUPTED_S, _INTERRUPTED = 5.0, (130, -signal.SIGINT)
_NOBODY = 65_534
_STAT = ("mode", "uid", "gid", "nlink", "mtime_ns", "ctime_ns")


def _hold_database(world: World, begin: str, least_s: float, most_s: float) -> None:
    with closing(sqlite3.connect(world.database, isolation_level=None, timeout=30)) as connection:
        connection.execute(begin)
        connection.execute("SELECT count(*) FROM runs").fetchone()
        rest(world, most_s, least_s)
        connection.execute("ROLLBACK")


def _read_long(world: World) -> None:
    world.trees.change("large", 400)
    pruning = world.begin("prune", "--keep", "100000") if world.random.random() < 0.3 else None
    _hold_database(world, "BEGIN", 2, 4)
    if pruning is not None:
        check("prune beside a reader", (0,), *world.heard(pruning))
    log = world.database.with_name("runner.db-wal")
    wait_for(lambda: not log.exists() or log.stat().st_size <= _WAL_BYTES, "the -wal file is cut", 10)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDONLY)

    def taken() -> int | None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        return True

    try:
        if moment(taken) is None:
            raise Wrong("hangs", f"the lock of {path.name} is never free")
        yield
    finally:
        os.close(fd)


def _lock(world: World, name: str) -> Path:
    return world.database.with_name(f"{world.database.name}.{name}.lock")


def _hold_run_lock(world: World) -> None:
    with _held(_lock(world, "runs")):
        run, interrupted = world.run_by_hand("often"), world.run_by_hand("other")
        rest(world, 2, 1)
        interrupted.send_signal(signal.SIGINT)
        check("an interrupted run", _INTERRUPTED, *world.heard(interrupted, _INTERRUPTED_S))
        check("daemon and run beside a held lock", (None,), run.poll(), "")
    # The daemon may have been faster.
    check("a run that waited for a lock", (0, 1), *world.heard(run))


def _hold_run_lock_long(world: World) -> None:
    with _held(_lock(world, "runs")):
        run = world.run_by_hand("often")
        rest(world, 1, 0)
        world.kill_daemon()
        check("the daemon beside a held lock", (None,), *world.start_daemon())
        check("a run", (1,), *world.heard(run, _LOCK_TIMEOUT_S + 15), says=_lock(world, "runs").name)


def _hold_daemon_lock(world: World) -> None:
    world.kill_daemon()
    with _held(_lock(world, "daemon")):
        check("the daemon", (1,), *world.start_daemon())
        expect(world, (0, 1), "run", "often")


def _hold_directory(world: World) -> None:
    folder = world.folder / "new"
    folder.mkdir()
    create = ("schedule", str(world.trees.root("often")), "--every", "1d", "--db", str(folder / "runner.db"))
    with _held(folder):
        creating, interrupted = world.begin(*create), world.begin(*create)
        rest(world, 2, 1)
        interrupted.send_signal(signal.SIGINT)
        check("an interrupted command", _INTERRUPTED, *world.heard(interrupted, _INTERRUPTED_S))
    check("a command that waited for the lock", (0,), *world.heard(creating))
    shutil.rmtree(folder)


def _plant_before(world: World) -> None:
    world.end_daemon()
    with _planted(world, _all_places(world)):
        check("the daemon", (None, 1, 2), *world.start_daemon())
        _write_everything(world)
        world.kill_daemon()


def _plant_beside(world: World) -> None:
    with _planted(world, [path for path in _all_places(world) if "-" not in path.name.removeprefix("job-")]):
        _write_everything(world)
        rest(world, 1)


def _all_places(world: World) -> list[Path]:
    """Find where links can be planted: in place of all that runner creates, but not of the history itself."""
    base = world.database
    beside = [base.with_name(base.name + end) for end in ("-wal", "-shm", "-journal", ".runs.lock", ".daemon.lock")]
    backup = [base.with_name("backup.db"), base.with_name("backup.db.partial")]
    caches = [path for path in world.caches.rglob("job-*") if path.name[-1].isdigit()]
    places = [*beside, *backup, world.metrics, *caches, *(path.with_name(f"{path.name}.partial") for path in caches)]
    # What a killed process has left in its -wal file is history.
    return [path for path in places if path not in beside[:2] or not os.path.lexists(path)]


def _write_everything(world: World) -> None:
    for command in (("run", "known"), ("db", "backup", str(world.database.with_name("backup.db"))), ("history",)):
        expect(world, (0, 1, 2), *command)


@contextmanager
def _planted(world: World, places: list[Path]) -> Iterator[None]:
    """Create links in some places at the same time, and check that nothing has changed where they lead."""
    elsewhere = world.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "victim").write_text("another's file\n")
    before = _state(elsewhere)
    chosen = world.random.sample(places, world.random.randint(1, 4))
    for path in chosen:
        path.unlink(missing_ok=True)
        path.symlink_to(elsewhere / world.random.choice(("victim", "missing")))
        if os.geteuid() == 0:
            os.lchown(path, _NOBODY, _NOBODY)
    try:
        yield
    finally:
        for path in [*chosen, world.database.with_name("backup.db")]:
            if path.is_symlink() or path.name == "backup.db":
                path.unlink(missing_ok=True)
        after = _state(elsewhere)
        shutil.rmtree(elsewhere)
    if after != before:
        raise Wrong("leftovers", f"links at {[path.name for path in chosen]} had {before} become {after}")


def _state(folder: Path) -> dict[str, list[object]]:
    """Return all that can be seen of the files of a folder, but when they were read."""
    stats = {path: path.stat() for path in folder.iterdir()}
    return {
        path.name: [path.read_bytes(), *(getattr(stat, f"st_{what}") for what in _STAT)] for path, stat in stats.items()
    }


KINDS = (
    Kind("database locked", lambda world: _hold_database(world, "BEGIN IMMEDIATE", 0.5, 2.5)),
    # Longer than runner waits for it.
    Kind("database locked for too long", lambda world: _hold_database(world, "BEGIN IMMEDIATE", 16.5, 18), every=4),
    Kind("long-running reader", _read_long),
    Kind("run lock held", _hold_run_lock),
    Kind("run lock held for too long", _hold_run_lock_long, every=7),
    Kind("daemon lock held", _hold_daemon_lock),
    Kind("lock of the directory held", _hold_directory),
    Kind("planted links, daemon ended", _plant_before),
    Kind("planted links, daemon alive", _plant_beside),
)
