"""Tasks for trials under test.

A trial has only the standard library and runner on its path, so a task comes with the directory of this module.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.measure.trial import Task, TrialResult
from runner.strategies import watched_pool
from runner.strategies.exchange import Channel
from runner.strategies.watched_pool import WatchedPool, starting, trial_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.scan.walk import Report

LARGE = 20_000_000
# A program that carries out a trial which waits forever.
FOLLOW = f"""
import sys; sys.path.append({str(Path(__file__).parent)!r})
from trial_tasks import Remote
from runner.measure.trials import carry_out
carry_out(Remote('wait_for_ever', *sys.argv[1:]))
"""


class Remote(Task):
    """A function of this module with its arguments, pickled so that a trial finds it; its value is their result."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        directory = str(Path(__file__).parent)
        return eval, (
            f"__import__('sys').path.append({directory!r}) or __import__('trial_tasks').Remote(*{self.call!r})",
        )

    def prepare(self) -> str:
        return "of its own"

    def carry_out(self, report: Report, _output: int) -> tuple[TrialResult, Any]:
        function, *args = self.call
        began = time.perf_counter()
        result = globals()[function](report, *args)
        result, end = result if isinstance(result, tuple) else (result, None)
        return TrialResult(wall_s=time.perf_counter() - began, value=result), end


def wait_until(condition: Callable[[], object], limit_s: float = 5.0) -> None:
    """Wait for a condition by polling; fail at the time limit."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def living(session: int) -> list[int]:
    """Return the processes of a session; ended ones that nobody has collected do not count."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def noted(directory: Path, name: str) -> list[int]:
    return [int(word) for word in (directory / name).read_text(encoding="ascii").split()]


def semaphores(directory: Path) -> set[str]:
    """Return the semaphores of a trial that are left."""
    return set((directory / "locks").read_text(encoding="ascii").split()) & set(os.listdir("/dev/shm"))  # noqa: S108


def assert_gone(directory: Path) -> None:
    """Wait for the end of a trial: killed workers are gone as soon as init has collected them."""
    [trial] = noted(directory, "trial")
    wait_until(lambda: [] == living(trial), 1)


def note(directory: str, name: str, value: object) -> None:
    """Write a value for the test, complete as soon as it is visible."""
    path = Path(directory, name)
    part = path.with_suffix(f".{os.getpid()}")  # two workers may note the same at once
    part.write_text(str(value), encoding="ascii")
    part.rename(path)


def start_pool(directory: str, start_method: str = "fork") -> WatchedPool:
    """Start two workers; write the process numbers and the names of the pool's semaphores, if any."""
    watched = WatchedPool(2, start_method)
    watched.submit(say, "ready")
    watched.result()
    pool: Any = watched._pool
    queues = [pool._inqueue, pool._outqueue, pool._change_notifier]
    locks = [lock for queue in queues for lock in (queue._rlock, queue._wlock)]
    names = [lock._semlock.name for lock in locks]
    note(directory, "locks", " ".join("sem." + name.removeprefix("/") for name in names if name))
    note(directory, "workers", " ".join(str(worker.pid) for worker in watched.workers))
    note(directory, "trial", os.getpid())
    return watched


# Functions that pool workers carry out.


def say(text: str) -> str:
    return text


def die(directory: str, number: int = signal.SIGKILL) -> None:
    note(directory, "victim", os.getpid())
    os.kill(os.getpid(), number)
    signal.pause()


def leave(directory: str) -> None:
    note(directory, "victim", os.getpid())
    os._exit(7)


def die_sending(directory: str) -> bytes:
    """Return a large result; a helper stops the receiver, and kills this worker once the pipe is full."""
    worker, trial = os.getpid(), os.getppid()
    note(directory, "victim", worker)
    os.kill(trial, signal.SIGSTOP)
    if os.fork() == 0:
        wait_until(lambda: "pipe_write" in Path(f"/proc/{worker}/wchan").read_text(encoding="ascii"), 20)
        os.kill(worker, signal.SIGKILL)
        os.kill(trial, signal.SIGCONT)
        os._exit(0)
    return bytes(LARGE)


# What a worker does at a moment.
VICTIMS: dict[str, Callable[[str], object]] = {"busy": die, "leaving": leave, "sending": die_sending}


def die_reporting(directory: str, channel: Channel) -> None:
    """Kill this worker in the middle of a message, which its parent has begun to read."""
    os.write(channel._writer.fileno(), bytes([100, *bytes(50)]))
    time.sleep(0.2)
    die(directory)


def doze() -> str:
    """Stop this process for a moment."""
    continue_later(os.getpid())
    os.kill(os.getpid(), signal.SIGSTOP)
    return "awake"


def continue_later(pid: int) -> None:
    """Resume a process half a second after it has been stopped."""
    if os.fork() == 0:
        wait_until(lambda: " T " in Path(f"/proc/{pid}/stat").read_text(encoding="ascii"))
        time.sleep(0.5)
        os.kill(pid, signal.SIGCONT)
        os._exit(0)


def burn(seconds: float) -> float:
    while time.process_time() < seconds:
        pass
    return time.process_time()


# Functions that trials carry out: each returns its result, some also what ends it.


def describe_trial(_report: Report) -> Any:
    """Return the state of a trial process before its task has done anything."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    return {
        "modules": sorted(sys.modules),
        "threads": int(status["Threads"]),
        "python_threads": threading.active_count(),
        "ignored": int(status["SigIgn"], 16),
        "blocked": int(status["SigBlk"], 16),
        "caught": int(status["SigCgt"], 16),
        "leads": os.getpid() == os.getsid(0) == os.getpgrp(),
    }


def wait_for_ever(_report: Report, directory: str, start_method: str = "fork") -> Any:
    """Keep two workers, one at work and one idle, until killed."""
    start_pool(directory, start_method).submit(signal.pause)
    signal.pause()


def be_held(_report: Report, directory: str) -> Any:
    """Start a tracer of this process that ignores it, so that it can't be collected even when killed."""
    start_tracer(directory, os.getpid(), 0)
    signal.pause()


def hold_worker(_report: Report, directory: str) -> Any:
    """Start a worker that begins to end when it is killed, but which a process that traces it does not let end."""
    if (worker := os.fork()) == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        allow_tracing()
        note(directory, "ready", worker)
        while True:
            signal.pause()
    wait_until(Path(directory, "ready").exists)
    start_tracer(directory, worker, 0x40)  # PTRACE_O_TRACEEXIT
    signal.pause()


def allow_tracing() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # PR_SET_PTRACER, PR_SET_PTRACER_ANY
    return libc


def start_tracer(directory: str, pid: int, options: int) -> None:
    """Start a process that traces another one until it is let go."""
    libc = allow_tracing()
    if os.fork() == 0:
        os.setsid()
        seized = libc.ptrace(0x4206, pid, None, options) == 0  # PTRACE_SEIZE
        note(directory, "holder", f"{os.getpid()} {pid if seized else 0}")
        wait_until(Path(directory, "let go").exists, 60)
        os._exit(0)


def lose_worker(_report: Report, directory: str, moment: str, start_method: str = "fork") -> Any:
    """Kill a worker at a given moment."""
    note(directory, "trial", os.getpid())
    if moment == "starting":
        watched = WatchedPool(2, start_method, die, (directory,))
        watched.submit(say, "anything")
        return watched.result()
    if moment == "reporting":
        channel = Channel(multiprocessing.get_context("fork"))
        watched = WatchedPool(2, "fork", partial(die_reporting, directory), (channel,))
        watched.submit(signal.pause)
        return watched.result(channel.reader, lambda: note(directory, "received", list(channel.receive())))
    watched = start_pool(directory, start_method)
    if moment == "busy":
        watched.submit(signal.pause)
    if moment in VICTIMS:
        watched.submit(VICTIMS[moment], directory)
        return watched.result()
    for text in "ab":
        watched.submit(say, text)
    for _ in range(2):
        watched.result()
    kind, number = moment.split()
    victim = watched.workers[int(number)].pid
    assert victim is not None
    note(directory, "victim", victim)

    def lose_it_and_end() -> None:
        os.kill(victim, signal.SIGKILL)
        watched.end()

    if kind == "ending":
        return None, lose_it_and_end
    os.kill(victim, signal.SIGKILL)
    return watched.result()


def lose_worker_before_it_is_watched(_report: Report, directory: str) -> Any:
    """Kill a worker while the pool is created; waiting for the others would never end."""
    fork = os.fork

    def fork_and_lose() -> int:
        pid = fork()
        if pid:
            os.fork = fork
            note(directory, "trial", os.getpid())
            note(directory, "victim", pid)
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return pid

    os.fork = fork_and_lose
    watched = WatchedPool(2, "fork")
    watched.submit(signal.pause)
    return watched.result()


def stop_worker(_report: Report, directory: str, looks: int, then: str, start_method: str = "fork") -> Any:
    """Wait for a worker that was stopped."""
    watched_pool._POLL_S, watched_pool._MOST_STOPPED, watched_pool._END_S = 0.1, looks, 0.2
    watched = start_pool(directory, start_method)
    if then == "continued":
        watched.submit(doze)
        return watched.result(), watched.end
    if then == "left":
        watched.submit(die, directory, signal.SIGSTOP)
        return watched.result(), watched.end

    def stop_one_and_end() -> None:
        victim = watched.workers[0].pid
        assert victim is not None
        note(directory, "victim", victim)
        os.kill(victim, signal.SIGSTOP)
        if then == "ending, continued":
            continue_later(victim)
        watched.end()

    return "awake", stop_one_and_end


def burn_in_workers(_report: Report, seconds: float, start_method: str) -> Any:
    watched = WatchedPool(2, start_method)
    for _ in range(2):
        watched.submit(burn, seconds)
    return [watched.result() for _ in range(2)], watched.end


def repeat(_report: Report, text: str, times: int) -> Any:
    return text * times


def count_up(report: Report, directory: str, steps: int) -> Any:
    """Report a number of directories, wait for a file, and report once more."""
    note(directory, "trial", os.getpid())
    for _ in range(steps):
        report(1, 300, 2)
    wait_until(Path(directory, "go").exists, 30)
    report(0, 1, 0)


def raise_unforeseen(_report: Report) -> Any:
    raise ZeroDivisionError("nobody saw it coming")


def run_out_of_memory(_report: Report) -> Any:
    resource.setrlimit(resource.RLIMIT_AS, (500_000_000, 500_000_000))
    return bytes(1_000_000_000)


def print_something(_report: Report) -> Any:
    print("noise", flush=True)  # noqa: T201
    os.write(1, b"more noise\n")
    return "kept"


def use_pool(start_method: str) -> tuple[Any, Callable[[], None]]:
    """Execute two tasks in a pool."""
    with starting(2):
        channel = Channel(trial_context(start_method))
    watched = WatchedPool(2, start_method)
    for text in "ab":
        watched.submit(say, text)
    results = sorted(watched.result(channel.reader, lambda: None) for _ in range(2))
    return results, watched.end


def lose_fork_server(_report: Report) -> Any:
    """Kill the fork server while it starts a worker."""
    forkserver.ensure_running()
    server: int = vars(forkserver)["_forkserver"]._forkserver_pid
    os.kill(server, signal.SIGSTOP)
    starter = Path(f"/proc/{os.getpid()}/stat")
    if os.fork() == 0:
        asleep = 0
        while asleep < 20:  # now it waits for the server, whatever else the machine does
            time.sleep(0.01)
            asleep = asleep + 1 if starter.read_text(encoding="ascii").split()[2] == "S" else 0
        os.kill(server, signal.SIGKILL)
        os._exit(0)
    return use_pool("forkserver")


def use_few_descriptors(_report: Report, most: int, start_method: str) -> Any:
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return use_pool(start_method)


def use_little_memory(_report: Report, more: int, start_method: str) -> Any:
    """Limit the address space to this number of further bytes; a thread needs 8 MiB for its stack."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return use_pool(start_method)
