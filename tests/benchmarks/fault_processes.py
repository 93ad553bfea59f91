"""Faults of processes: they are killed, stopped, starved and ended, and others want the same as they do."""

import fcntl
import os
import platform
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISFIFO

from tests.benchmarks.fault_checks import Wrong, check, wait_for
from tests.benchmarks.fault_kinds import Kinds, moment, rest
from tests.benchmarks.fault_system import children, helpers, state_of, system_call, trials, workers
from tests.benchmarks.fault_trees import JOBS
from tests.benchmarks.fault_world import World

# Where the kernel says in which system call a process waits: read, write and futex.
_READ, _WRITE, _FUTEX = {"x86_64": (0, 1, 202), "aarch64": (63, 64, 98)}.get(platform.machine(), (-2, -2, -2))
# How long a trial process may take after its pool has broken.
_END_S = 25.0
_INTERRUPTED_S = 10.0

KINDS = Kinds()


def _calls(_world: World) -> str | None:
    return None if _READ >= 0 and Path("/proc/self/syscall").exists() else "system calls are not shown here"


def _trial(world: World) -> int | None:
    """Wait for a trial of any job."""
    return moment(lambda: next(iter(trials(world.pid())), None))


def _pool(world: World, job: str) -> int | None:
    """Wait for the trial process of a job that has its two workers."""

    def look() -> int | None:
        found = next((trial for trial in trials(world.pid()) if len(workers(trial)) == 2), None)
        return found if found is not None and world.is_running(job) else None

    return moment(look)


def _below_trial(world: World, find: Callable[[int], list[int]]) -> int | None:
    """Wait for a process that a trial process has started."""
    return moment(lambda: next((found for trial in trials(world.pid()) for found in find(trial)), None))


def _kill(pid: int, number: int = signal.SIGKILL) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


# Processes that die.


@KINDS.enter("daemon killed")
def _daemon_killed(world: World) -> None:
    rest(world, 1)
    world.kill_daemon()


@KINDS.enter("daemon killed in mid-run")
def _daemon_killed_in_run(world: World) -> bool:
    found = _trial(world)
    rest(world, 0.1)
    world.kill_daemon()
    return found is not None


@KINDS.enter("daemon killed while it saves")
def _daemon_killed_saving(world: World) -> bool:
    world.trees.change("large", 300)
    trial = _pool(world, "large")
    if trial is None:
        return False
    wait_for(lambda: not state_of(trial), "the end of a trial", _END_S, 0.0005)
    rest(world, 0.06)
    world.kill_daemon()
    return True


@KINDS.enter("daemon killed as it starts")
def _daemon_killed_starting(world: World) -> None:
    world.kill_daemon()
    with world.log.open("ab") as log:
        world.daemon = world.start("daemon", stdout=subprocess.DEVNULL, stderr=log)
    rest(world, 1)
    world.kill_daemon()


@KINDS.enter("trial killed")
def _trial_killed(world: World) -> bool:
    trial = _trial(world)
    rest(world, 0.05)
    return trial is not None and _kill(trial)


@KINDS.enter("trial stopped as it starts, daemon killed")
def _starting_stopped(world: World) -> bool:
    wait_for(lambda: not children(world.pid()), "the end of a trial", _END_S, 0.0005)
    trial = moment(lambda: next(iter(children(world.pid())), None))  # perhaps before it is a program of its own
    rest(world, 0.05)
    came = trial is not None and _kill(trial, signal.SIGSTOP)
    world.kill_daemon()
    return came


@KINDS.enter("worker killed as it starts")
def _starting_killed(world: World) -> bool:
    worker = _below_trial(world, workers)
    return worker is not None and _kill(worker)


@KINDS.enter("fork server or resource tracker killed", methods=("spawn", "forkserver"))
def _helper_killed(world: World) -> bool:
    helper = _below_trial(world, helpers)
    rest(world, 0.1)
    return helper is not None and _kill(helper)


def _busy_worker(world: World, job: str) -> int | None:
    """Wait for a worker that has begun to read the tree of a job, which makes it go there."""
    below = f"{world.trees.root(job)}/"  # one that was just forked is in the root itself, where its parent is

    def look() -> int | None:
        for trial in trials(world.pid()):
            for worker in workers(trial):
                with suppress(OSError):
                    if str(Path(f"/proc/{worker}/cwd").readlink()).startswith(below):
                        return worker
        return None

    return moment(look)


@KINDS.enter("worker killed, busy")
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
        for worker in workers(trial):
            if system_call(worker) in calls:
                return worker
        time.sleep(0.001)
    return None


@KINDS.enter("worker killed, idle", needs=_calls)
def _idle_killed(world: World) -> bool:
    trial = _pool(world, "often")
    if trial is None:
        return False
    with _stopped(trial):
        worker = _waiting_worker(trial, (_READ, _FUTEX))
        return worker is not None and _kill(worker)


def _narrow_pipes(pid: int) -> None:
    """Limit the pipes of a process to a page, so that a worker has to wait while it writes its result."""
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # it is closed, or another kind of file
            if S_ISFIFO(fd.stat().st_mode):
                pipe = os.open(fd, os.O_RDONLY | os.O_NONBLOCK)
                try:
                    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4_096)
                finally:
                    os.close(pipe)


@KINDS.enter("worker killed in mid-result", needs=_calls)
def _sending_killed(world: World) -> bool:
    busy = _busy_worker(world, "large")
    trial = next(iter(trials(world.pid())), None)
    if busy is None or trial is None:
        return False
    with _stopped(trial):
        _narrow_pipes(trial)
        worker = _waiting_worker(trial, (_WRITE,))
        return worker is not None and _kill(worker)


@KINDS.enter("worker without memory")
def _starved(world: World) -> bool:
    trial = _pool(world, "large")
    for process in (*workers(trial), trial) if trial else ():
        with suppress(ProcessLookupError):
            resource.prlimit(process, resource.RLIMIT_AS, (1_000_000, 1_000_000))
    return trial is not None


# Signals.


@KINDS.enter("trial stopped")
def _trial_stopped(world: World) -> bool:
    trial = _trial(world)
    if trial is None or not _kill(trial, signal.SIGSTOP):
        return False
    wait_for(lambda: not state_of(trial), "the end of a stopped trial", 15)
    return True


@KINDS.enter("daemon stopped and continued")
def _daemon_stopped(world: World) -> None:
    with _stopped(world.pid()):
        rest(world, 3, 0.2)


@KINDS.enter("SIGTERM")
def _terminated(world: World) -> None:
    rest(world, 1)
    world.end_daemon()


@KINDS.enter("SIGTERM in mid-run, twice")
def _terminated_twice(world: World) -> bool:
    found = _trial(world)
    _kill(world.pid(), signal.SIGTERM)
    rest(world, 0.1)
    world.end_daemon()
    return found is not None


# Others who want the same.


@KINDS.enter("run by hand as well")
def _by_hand(world: World) -> None:
    process = world.run_by_hand(world.random.choice(JOBS).name)
    world.heard(process)


@KINDS.enter("run by hand killed")
def _by_hand_killed(world: World) -> None:
    process = world.run_by_hand("large")
    rest(world, 1.8, 0.3)
    process.kill()
    world.heard(process)


@KINDS.enter("run by hand interrupted")
def _by_hand_interrupted(world: World) -> None:
    process = world.run_by_hand("large")
    rest(world, 1.8, 0.5)
    process.send_signal(signal.SIGINT)
    # It may have ended before; and a run of the daemon may have been going on.
    check("an interrupted run", (0, 1, 130, -signal.SIGINT), *world.heard(process, _INTERRUPTED_S))


@KINDS.enter("ten daemons at once", every=3)
def _ten_daemons(world: World) -> None:
    if world.random.random() < 0.5:
        world.kill_daemon()
    said = [world.folder / f"daemon-{number}.log" for number in range(10)]
    started = [world.start("daemon", stdout=subprocess.DEVNULL, stderr=path.open("wb")) for path in said]
    everyone = [*started, world.daemon] if world.daemon is not None else started
    # The process that is left runs on as the daemon.
    world.by_hand += started
    try:
        wait_for(lambda: sum(one.poll() is None for one in everyone) <= 1, "the end of nine daemons", 60)
        for process, path in zip(started, said, strict=True):
            if process.poll() is not None:
                check("a refused daemon", (1, 2), process.returncode, path.read_text())
        left = [one for one in everyone if one.poll() is None]
        if not left:
            raise Wrong("hangs", "no daemon of ten was left")
        if left[0] is not world.daemon:
            world.kill_daemon()
            world.daemon = left[0]
    finally:
        for process in started:
            world.by_hand.remove(process)
            if process is not world.daemon:
                process.kill()
                process.wait()
