"""The kinds of faults. To add one, write a function that takes the world and enter it by ``@kind``.

A kind brings its fault about at a random moment of real runs, waits for what has to come of it at once, and takes away
what would hold up others. It returns False if the moment did not come, and raises Hang if something did not end.
"""

import os
import platform
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.fault_world import (
    JOBS,
    Hang,
    World,
    children,
    parent_of,
    state_of,
    system_call,
    trials,
    wait_for,
)

Fault = Callable[[World], bool | None]

# Where the kernel says in which system call a process waits: read, write and futex.
_READ, _WRITE, _FUTEX = {"x86_64": (0, 1, 202), "aarch64": (63, 64, 98)}.get(platform.machine(), (-2, -2, -2))
# How long a moment is waited for; every job has had a run by then.
_MOMENT_S = 8.0
# SIGTERM leaves a run five seconds; the rest is for a busy machine.
_END_S = 25.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: How it is told.
        inject: Brings it about.
        every: In one round of how many it has its turn.
        needs: Says why it can't be brought about in a world; None if it can.
    """

    name: str
    inject: Fault
    every: int
    needs: Callable[[World], str | None]


KINDS: list[Kind] = []


def _nothing(_world: World) -> None:
    return None


def _mounts(world: World) -> str | None:
    return None if world.mounts else "mounts are not permitted"


def _permissions(world: World) -> str | None:
    return None if world.obeys_permissions else "root can't give up its power over permissions without setpriv"


def _calls(_world: World) -> str | None:
    return None if _READ >= 0 and Path("/proc/self/syscall").exists() else "system calls are not shown here"


def kind(name: str, *, every: int = 1, needs: Callable[[World], str | None] = _nothing) -> Callable[[Fault], Fault]:
    """Enter a function as a kind of fault."""

    def enter(inject: Fault) -> Fault:
        KINDS.append(Kind(name=name, inject=inject, every=every, needs=needs))
        return inject

    return enter


# Moments.


def _rest(world: World, most_s: float, least_s: float = 0.0) -> None:
    time.sleep(world.random.uniform(least_s, most_s))


def _moment(look: Callable[[], int | None]) -> int | None:
    """Wait for a process to be at some point, very often asked; None if it does not come."""
    try:
        return wait_for(look, "a moment", _MOMENT_S, 0.0005)
    except Hang:
        return None


def _trial(world: World) -> int | None:
    """Wait for a trial of any job."""
    return _moment(lambda: next(iter(trials(world.pid())), None))


def _pool(world: World, job: str) -> int | None:
    """Wait for the trial of a job that has its two workers."""

    def look() -> int | None:
        found = next((trial for trial in trials(world.pid()) if len(children(trial)) == 2), None)
        return found if found is not None and world.is_running(job) else None

    return _moment(look)


def _kill(pid: int, number: int = signal.SIGKILL) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


# Processes that die.


@kind("daemon killed")
def _daemon_killed(world: World) -> None:
    _rest(world, 1)
    world.kill_daemon()


@kind("daemon killed in mid-run")
def _daemon_killed_in_run(world: World) -> bool:
    found = _trial(world)
    _rest(world, 0.1)
    world.kill_daemon()
    return found is not None


@kind("daemon killed while it saves")
def _daemon_killed_saving(world: World) -> bool:
    world.change("large", 300)
    trial = _pool(world, "large")
    if trial is None:
        return False
    wait_for(lambda: not state_of(trial), "the end of a trial", _END_S, 0.0005)
    _rest(world, 0.06)
    world.kill_daemon()
    return True


@kind("daemon killed as it starts")
def _daemon_killed_starting(world: World) -> None:
    world.kill_daemon()
    with world.log.open("ab") as log:
        world.daemon = world.start("daemon", stdout=subprocess.DEVNULL, stderr=log)
    _rest(world, 1.2)
    world.kill_daemon()


@kind("trial killed")
def _trial_killed(world: World) -> bool:
    trial = _trial(world)
    _rest(world, 0.05)
    return trial is not None and _kill(trial)


def _busy_worker(world: World, job: str) -> int | None:
    """Wait for a worker that has begun to read the tree of a job, which makes it go there."""
    root = str(world.root(job))

    def look() -> int | None:
        for trial in trials(world.pid()):
            for worker in children(trial):
                with suppress(OSError):
                    if str(Path(f"/proc/{worker}/cwd").readlink()).startswith(root):
                        return worker
        return None

    return _moment(look)


@kind("worker killed, busy")
def _busy_killed(world: World) -> bool:
    worker = _busy_worker(world, "large")
    return worker is not None and _kill(worker)


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    """Stop a process meanwhile."""
    _kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        _kill(pid, signal.SIGCONT)


def _waiting_worker(trial: int, calls: tuple[int, ...]) -> int | None:
    """Wait for a worker of a stopped trial that waits in one of these system calls."""
    deadline = time.monotonic() + 1.5  # less than any time limit
    while time.monotonic() < deadline:
        for worker in children(trial):
            if system_call(worker) in calls:
                return worker
        time.sleep(0.001)
    return None


@kind("worker killed, idle", needs=_calls)
def _idle_killed(world: World) -> bool:
    trial = _pool(world, "often")
    if trial is None:
        return False
    with _stopped(trial):
        worker = _waiting_worker(trial, (_READ, _FUTEX))
        return worker is not None and _kill(worker)


@kind("worker killed in mid-result", needs=_calls)
def _sending_killed(world: World) -> bool:
    busy = _busy_worker(world, "large")
    trial = parent_of(busy) if busy is not None else None
    if trial is None:
        return False
    with _stopped(trial):
        worker = _waiting_worker(trial, (_WRITE,))
        return worker is not None and _kill(worker)


@kind("worker without memory")
def _starved(world: World) -> bool:
    trial = _pool(world, "large")
    for process in (*children(trial), trial) if trial else ():
        with suppress(ProcessLookupError):
            resource.prlimit(process, resource.RLIMIT_AS, (1_000_000, 1_000_000))
    return trial is not None


# Signals.


@kind("trial stopped")
def _trial_stopped(world: World) -> bool:
    trial = _trial(world)
    if trial is None or not _kill(trial, signal.SIGSTOP):
        return False
    wait_for(lambda: not state_of(trial), "the end of a stopped trial", 15)
    return True


@kind("daemon stopped and continued")
def _daemon_stopped(world: World) -> None:
    with _stopped(world.pid()):
        _rest(world, 3, 0.2)


def _ended(world: World) -> None:
    """Wait until the daemon has ended as it should."""
    assert world.daemon is not None
    try:
        code = world.daemon.wait(_END_S)
    except subprocess.TimeoutExpired:
        raise Hang("the daemon did not end after SIGTERM") from None
    if code != 0:
        raise Hang(f"the daemon ended with {code} after SIGTERM")


@kind("SIGTERM")
def _terminated(world: World) -> None:
    _rest(world, 1)
    _kill(world.pid(), signal.SIGTERM)
    _ended(world)


@kind("SIGTERM in mid-run, twice")
def _terminated_twice(world: World) -> bool:
    found = _trial(world)
    _kill(world.pid(), signal.SIGTERM)
    _rest(world, 0.1)
    _kill(world.pid(), signal.SIGTERM)
    _ended(world)
    return found is not None


# Others who want the same.


@kind("run by hand as well")
def _by_hand(world: World) -> None:
    process = world.run_by_hand(world.random.choice(JOBS).name)
    world.heard(process)


@kind("run by hand killed")
def _by_hand_killed(world: World) -> None:
    process = world.run_by_hand("large")
    _rest(world, 1.8, 0.3)
    process.kill()
    world.heard(process)


@kind("ten daemons at once", every=3)
def _ten_daemons(world: World) -> None:
    if world.random.random() < 0.5:
        world.kill_daemon()
    said = [world.folder / f"daemon-{number}.log" for number in range(10)]
    started = [world.start("daemon", stdout=subprocess.DEVNULL, stderr=path.open("wb")) for path in said]
    everyone = started if world.daemon is None or world.daemon.poll() is not None else [*started, world.daemon]
    # Whoever is left runs on as the daemon.
    world.by_hand += started
    try:
        wait_for(lambda: sum(one.poll() is None for one in everyone) <= 1, "the end of nine daemons", 60)
        for process, path in zip(started, said, strict=True):
            told = path.read_text()
            if process.poll() is not None and (process.returncode not in (1, 2) or told.count("\n") != 1):
                raise Hang(f"a refused daemon ended with {process.returncode} and said {told!r}")
        left = [one for one in everyone if one.poll() is None]
        if not left:
            raise Hang("no daemon of ten was left")
        if left[0] is not world.daemon:
            world.kill_daemon()
            world.daemon = left[0]
    finally:
        for process in started:
            world.by_hand.remove(process)
            if process is not world.daemon:
                process.kill()
                process.wait()


# The database.


def _hold_locked(world: World, least_s: float, most_s: float) -> None:
    with closing(sqlite3.connect(world.database, isolation_level=None, timeout=30)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        _rest(world, most_s, least_s)
        connection.execute("ROLLBACK")


@kind("database locked")
def _locked(world: World) -> None:
    _hold_locked(world, 0.5, 3)


@kind("database locked for too long", every=4)
def _locked_long(world: World) -> None:
    """Hold the lock for longer than runner waits for it."""
    _hold_locked(world, 16.5, 19)


@contextmanager
def _full(world: World, room: int) -> Iterator[None]:
    """Leave so many bytes on the disk that holds the history."""
    filler = world.kept / "filler"
    try:
        with filler.open("wb") as file, suppress(OSError):  # the daemon may have taken some meanwhile
            os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(world.kept).free - room))
        yield
    finally:
        filler.unlink()


@kind("disk full", needs=_mounts)
def _disk_full(world: World) -> None:
    with _full(world, world.random.choice((0, 4_096, 20_000))):
        _rest(world, 2, 0.3)


@kind("disk full in mid-save", needs=_mounts)
def _disk_full_saving(world: World) -> None:
    world.change("large", 400)
    with _full(world, world.random.randrange(50_000, 400_000)):
        _rest(world, 3.5, 2.1)


@contextmanager
def _limited(pid: int, which: int, soft: int) -> Iterator[None]:
    """Put a limit on a process meanwhile."""
    before = resource.prlimit(pid, which)
    resource.prlimit(pid, which, (soft, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, which, before)


@kind("files may not grow")
def _file_size(world: World) -> None:
    world.change("large", 200)
    log = world.database.with_name("runner.db-wal")
    size = log.stat().st_size if log.exists() else 0
    with _limited(world.pid(), resource.RLIMIT_FSIZE, world.random.randrange(size + 8_000)):
        _rest(world, 2.5, 0.5)


@kind("no descriptors left")
def _descriptors(world: World) -> None:
    held = max(int(path.name) for path in Path(f"/proc/{world.pid()}/fd").iterdir())
    with _limited(world.pid(), resource.RLIMIT_NOFILE, max(3, held - world.random.randrange(-6, 4))):
        _rest(world, 2, 0.3)


# The trees.


@kind("root moved away in mid-scan")
def _root_away(world: World) -> bool:
    job = "large" if world.mounts else world.random.choice(JOBS).name
    return _without_root(world, job, lambda _root: None)


@kind("root replaced by a file in mid-scan")
def _root_file(world: World) -> bool:
    return _without_root(world, world.random.choice(JOBS).name, lambda root: root.write_text("a file\n"))


@kind("root replaced by a folder in mid-scan")
def _root_folder(world: World) -> bool:
    def replace(root: Path) -> None:
        root.mkdir()
        (root / "stranger.md").touch()

    return _without_root(world, world.random.choice(JOBS).name, replace)


def _without_root(world: World, job: str, replace: Callable[[Path], object]) -> bool:
    """Put something else where the tree of a job was, for a while."""
    root = world.root(job)
    trial = _trial_of(world, job)
    if world.mounts:  # a mount can't be renamed
        world.unmount(job)
    away = root.with_name("away")
    root.rename(away)
    try:
        replace(root)
        _rest(world, 1.2, 0.1)
    finally:
        if root.is_dir():
            shutil.rmtree(root)
        root.unlink(missing_ok=True)
        away.rename(root)
        if world.mounts:
            world.mount(job)
    return trial is not None


def _trial_of(world: World, job: str) -> int | None:
    def look() -> int | None:
        found = next(iter(trials(world.pid())), None)
        return found if found is not None and world.is_running(job) else None

    trial = _moment(look)
    _rest(world, 0.04)
    return trial


@kind("root unmounted in mid-scan", needs=_mounts)
def _root_unmounted(world: World) -> bool:
    job = world.random.choice(JOBS).name
    trial = _trial_of(world, job)
    world.unmount(job)
    try:
        _rest(world, 1.2, 0.1)
    finally:
        world.mount(job)
    return trial is not None


@kind("root closed in mid-scan", needs=_permissions)
def _root_closed(world: World) -> bool:
    job = world.random.choice(JOBS).name
    trial = _trial_of(world, job)
    closed = world.root(job) if world.random.random() < 0.5 else world.root(job) / "part-3"
    mode = closed.stat().st_mode
    closed.chmod(0)
    try:
        _rest(world, 1.2, 0.1)
    finally:
        closed.chmod(mode)
    return trial is not None


# The schema.

# Enough for a migration to take a while.
_OLD_RUNS = 30_000
_OLD = """
import sys
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from runner.model.bundled import bundled
config = Config()
config.set_main_option("script_location", str(bundled("migrations")))
with create_engine("sqlite:///" + sys.argv[1]).begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")
    connection.exec_driver_sql("PRAGMA journal_mode")
"""


def _old_database(world: World) -> Path:
    """Give a database of the first schema with enough in it to take a while."""
    path = world.folder / "old.db"
    if path.exists():
        return path
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", _OLD, path], check=True, cwd=root, env=world.environment)
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("INSERT INTO selections VALUES (1, '[\"*.md\"]', '[]', 0, 'stat', 0)")
        old.execute(
            "INSERT INTO jobs (id, name, root, selection_id, strategies, catchup, paused, created_at, armed_at) VALUES "
            "(1, 'old', x'2f6f6c64', 1, '[\"sequential\"]', 'once', 0, '2020-01-01 00:00:00', '2020-01-01 00:00:00')"
        )
        columns = {row[1] for row in old.execute("PRAGMA table_info(runs)") if row[3] and not row[5]}
        values = {
            "job_id": "1",
            "selection_id": "1",
            "cause": "'manual'",
            "status": "'failed'",
            "started_at": "'2021-01-01 00:00:00'",
            "finished_at": "'2021-01-01 00:00:01'",
            "message": "'kept'",
        }
        values |= dict.fromkeys(columns - values.keys(), "0")
        old.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {_OLD_RUNS}) "  # noqa: S608  own names
            f"INSERT INTO runs ({', '.join(values)}) SELECT {', '.join(values.values())} FROM n"
        )
    return path


@kind("killed in mid-migration")
def _killed_migrating(world: World) -> None:
    path = world.folder / "upgraded" / "runner.db"
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    shutil.copy(_old_database(world), path)
    upgrading = world.start("db", "upgrade", "--db", str(path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    world.by_hand.append(upgrading)
    # It works on the database from the moment it has made the backup's file.
    with suppress(Hang):
        wait_for(lambda: len(list(path.parent.iterdir())) > 1, "the backup", _MOMENT_S, 0.0005)
    _rest(world, 0.35)
    upgrading.kill()
    upgrading.wait()
    world.by_hand.remove(upgrading)
    for command in ("upgrade", "check"):
        code, out = world.ask("db", command, "--db", str(path))
        if code != 0:
            raise Hang(f"after a killed upgrade, db {command} ends with {code}: {out!r}")
    with closing(sqlite3.connect(path)) as upgraded:
        if upgraded.execute("SELECT count(*) FROM run_history WHERE message = 'kept'").fetchone() != (_OLD_RUNS,):
            raise Hang("after a killed upgrade, the history is another")
