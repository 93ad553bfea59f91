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
from tests.benchmarks.fault_kinds import Fault, Kind, any_trial, moment, rest, trial_of
from tests.benchmarks.fault_system import children, helpers, state_of, system_call, trials, workers
from tests.benchmarks.fault_trees import JOBS
from tests.benchmarks.fault_world import World

# Where the kernel says in which system call a process waits: read, write and futex.
_READ, _WRITE, _FUTEX = {"x86_64": (0, 1, 202), "aarch64": (63, 64, 98)}.get(platform.machine(), (-2, -2, -2))
# How long a trial process may take after its pool has broken.
_END_S = 25.0
_INTERRUPTED_S = 10.0

Find = Callable[[World], int | None]


def _needs_calls(_world: World) -> str | None:
    return None if _READ >= 0 and Path("/proc/self/syscall").exists() else "system calls are not shown here"


def _kill(pid: int, number: int = signal.SIGKILL) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    """Stop a process meanwhile."""
    _kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        _kill(pid, signal.SIGCONT)


# Processes that die.


def _kill_daemon(find: Find, most_s: float) -> Fault:
    """Kill the daemon at a random time after a moment."""

    def inject(world: World) -> bool:
        found = find(world)
        rest(world, most_s)
        world.kill_daemon()
        return found is not None

    return inject


def _kill_found(find: Find, most_s: float = 0.0) -> Fault:
    """Kill what is found at a moment, at a random time after it."""

    def inject(world: World) -> bool:
        found = find(world)
        rest(world, most_s)
        return found is not None and _kill(found)

    return inject


def _saving(world: World) -> int | None:
    """Wait for the end of a trial process that has found changes."""
    world.trees.change("large", 300)
    trial = _pool(world, "large")
    if trial is not None:
        wait_for(lambda: not state_of(trial), "the end of a trial", _END_S, 0.0005)
    return trial


def _starting(world: World) -> int:
    world.kill_daemon()
    with world.log.open("ab") as log:
        world.daemon = world.start("daemon", stdout=subprocess.DEVNULL, stderr=log)
    return world.pid()


def _stopped_trial(world: World) -> int | None:
    """Wait for a trial process that starts, perhaps before it is a program of its own, and stop it for good."""
    wait_for(lambda: not children(world.pid()), "the end of a trial", _END_S, 0.0005)
    trial = moment(lambda: next(iter(children(world.pid())), None))
    rest(world, 0.05)
    return trial if trial is not None and _kill(trial, signal.SIGSTOP) else None


def _below_trial(find: Callable[[int], list[int]]) -> Find:
    """Wait for a process that a trial process has started."""
    return lambda world: moment(lambda: next((found for trial in trials(world.pid()) for found in find(trial)), None))


def _pool(world: World, job: str) -> int | None:
    """Wait for the trial process of a job that has its two workers."""
    return trial_of(world, job, lambda trial: len(workers(trial)) == 2)


def _busy_worker(world: World) -> int | None:
    """Wait for a worker that has begun to read the large tree, which makes it go there."""
    below = f"{world.trees.root('large')}/"  # one that was just forked is in the root itself, where its parent is

    def look() -> int | None:
        for worker in (worker for trial in trials(world.pid()) for worker in workers(trial)):
            with suppress(OSError):
                if str(Path(f"/proc/{worker}/cwd").readlink()).startswith(below):
                    return worker
        return None

    return moment(look)


def _kill_waiting_worker(trial: int | None, *calls: int, narrow: bool = False) -> bool:
    """Stop a trial process, and kill a worker of it that comes to wait in one of these system calls."""
    if trial is None:
        return False
    with _stopped(trial):
        if narrow:
            _narrow_pipes(trial)
        deadline = time.monotonic() + 1.5  # less than any time limit
        while time.monotonic() < deadline:
            for worker in workers(trial):
                if system_call(worker) in calls:
                    return _kill(worker)
            time.sleep(0.001)
    return False


def _kill_sending(world: World) -> bool:
    trial = any_trial(world) if _busy_worker(world) else None
    return _kill_waiting_worker(trial, _WRITE, narrow=True)


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


def _starve(world: World) -> bool:
    trial = _pool(world, "large")
    for process in (*workers(trial), trial) if trial else ():
        with suppress(ProcessLookupError):
            resource.prlimit(process, resource.RLIMIT_AS, (1_000_000, 1_000_000))
    return trial is not None


# Signals.


def _stop_trial(world: World) -> bool:
    trial = any_trial(world)
    if trial is None or not _kill(trial, signal.SIGSTOP):
        return False
    wait_for(lambda: not state_of(trial), "the end of a stopped trial", 15)
    return True


def _stop_daemon(world: World) -> None:
    with _stopped(world.pid()):
        rest(world, 3, 0.2)


def _terminate(world: World) -> None:
    rest(world, 1)
    world.end_daemon()


def _terminate_twice(world: World) -> bool:
    found = any_trial(world)
    _kill(world.pid(), signal.SIGTERM)
    rest(world, 0.1)
    world.end_daemon()
    return found is not None


# Others who want the same.


def _run_by_hand(world: World) -> None:
    world.heard(world.run_by_hand(world.random.choice(JOBS).name))


def _end_by_hand(world: World, number: int) -> tuple[int, str]:
    process = world.run_by_hand("large")
    rest(world, 1.8, 0.4)
    process.send_signal(number)
    return world.heard(process, _INTERRUPTED_S)


def _interrupt_by_hand(world: World) -> None:
    # It may have ended before; and a run of the daemon may have been going on.
    check("an interrupted run", (0, 1, 130, -signal.SIGINT), *_end_by_hand(world, signal.SIGINT))


def _start_ten_daemons(world: World) -> None:
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


KINDS = (
    Kind("daemon killed", _kill_daemon(World.pid, 1)),
    Kind("daemon killed in mid-run", _kill_daemon(any_trial, 0.1)),
    Kind("daemon killed while it saves", _kill_daemon(_saving, 0.06)),
    Kind("daemon killed as it starts", _kill_daemon(_starting, 1)),
    Kind("trial killed", _kill_found(any_trial, 0.05)),
    Kind("trial stopped as it starts, daemon killed", _kill_daemon(_stopped_trial, 0)),
    Kind("worker killed as it starts", _kill_found(_below_trial(workers))),
    Kind(
        "fork server or resource tracker killed",
        _kill_found(_below_trial(helpers), 0.1),
        methods=("spawn", "forkserver"),
    ),
    Kind("worker killed, busy", _kill_found(_busy_worker)),
    Kind(
        "worker killed, idle",
        lambda world: _kill_waiting_worker(_pool(world, "often"), _READ, _FUTEX),
        needs=_needs_calls,
    ),
    Kind("worker killed in mid-result", _kill_sending, needs=_needs_calls),
    Kind("worker without memory", _starve),
    Kind("trial stopped", _stop_trial),
    Kind("daemon stopped and continued", _stop_daemon),
    Kind("SIGTERM", _terminate),
    Kind("SIGTERM in mid-run, twice", _terminate_twice),
    Kind("run by hand as well", _run_by_hand),
    Kind("run by hand killed", lambda world: _end_by_hand(world, signal.SIGKILL)),
    Kind("run by hand interrupted", _interrupt_by_hand),
    Kind("ten daemons at once", _start_ten_daemons, every=3),
)
