"""Trial processes from the parent's side: start, watch, collect, and leave nothing behind."""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import runner
from runner.measure.leftovers import trial_directory
from runner.measure.trial import FILESYSTEM, HEADER, PROGRESS, SHARED_BYTES, TrialResult, end_with_parent
from runner.model.errors import ScanError, is_condition_text, ran_short, reason_of
from runner.model.runs import Status
from runner.model.signals import is_known_stopped, signal_group, signal_name
from runner.scan.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.measure.trial import Task

# Interval of the checks of a running trial process; its result wakes the parent at once.
_TICK_S = 0.1
# Number of consecutive checks that find it stopped before it is ended; otherwise the run would wait forever.
_MOST_STOPPED = 600
# Limits for a trial process to end by itself after it has reported, and to clean up after SIGTERM.
_GRACE_S = 2.0
_CLEAN_UP_S = 0.3
# Limit for killed processes to disappear. The kernel ends none that waits for a device or a file system.
_REAP_S = 2.0
_PIPE_BYTES = 1 << 20

# -I: no user site, no environment, no current directory. -S: no site-packages. UTF-8 mode makes names exact in every
# locale.
_FLAGS = ("-I", "-S", "-X", "utf8")
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from runner.measure.trial import main; main()"

# Processes that could not be killed; they are collected once the kernel has released them.
_left: set[subprocess.Popen[bytes]] = set()


class Progress(NamedTuple):
    """The progress of a trial process: directories read, entries listed in them, and entries found."""

    directories: int
    entries: int
    files: int


def carry_out(
    task: Task,
    *,
    timeout_s: float | None = None,
    stop: Callable[[], Status | None] = lambda: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> TrialResult:
    """Execute a task in a fresh process.

    No process of it remains, except one that waits in the kernel and can't be ended; the message says so.

    Args:
        task: The task.
        timeout_s: Seconds after which the process is ended; None for no limit.
        stop: Called several times a second; a returned status ends the process and becomes that of the result.
        on_progress: Called several times a second.

    Raises:
        ScanError: If the process can't be started.
    """
    with ExitStack() as files:
        try:
            trial = _Trial(files, pickle.dumps(task, protocol=5))
        except (OSError, MemoryError) as error:  # no descriptors, or no space for its temporary files
            named = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
            raise ScanError(f"a process for the scan can't be started: {reason_of(error)}{named}") from error
        try:
            with closing(trial):
                status = trial.follow(timeout_s, stop, on_progress)
            result = trial.result() if status is None else TrialResult(message=_why_ended(status, timeout_s))
        except MemoryError as error:  # for the result
            raise ran_short(error) from error
        result.status = status or (Status.SUCCEEDED if result.message is None else Status.FAILED)
        if trial.left and result.message is not None:
            result.left, result.message = True, f"{result.message}; {_describe_left(trial.left)}"
        result.filesystem = trial.filesystem()
        return result


class _Trial:
    """A started trial process, the lifeline to it and the pipe from it."""

    def __init__(self, files: ExitStack, request: bytes) -> None:
        for process in _left.copy():
            if process.poll() is not None:
                _left.discard(process)
        directory = files.enter_context(trial_directory())
        try:
            # Open in the directory, these files identify the process even before it executes its program.
            temporary = (tempfile.TemporaryFile(dir=directory, buffering=0) for _ in range(4))  # noqa: SIM115
            stdin, progress, self._output, self._stderr = map(files.enter_context, temporary)
            stdin.write(request)
            stdin.seek(0)
            # Access to a mapped hole in a file on a full disk ends in SIGBUS.
            progress.write(bytes(SHARED_BYTES))
        except OSError as error:
            raise OSError(error.errno, reason_of(error), os.path.dirname(directory)) from error  # noqa: PTH120
        self._shared = files.enter_context(mmap.mmap(progress.fileno(), SHARED_BYTES, access=mmap.ACCESS_READ))
        command = [sys.executable, *_FLAGS, "-c", _BOOT, str(Path(runner.__file__).parent.parent)]
        lifeline, kept = os.pipe()
        files.callback(os.close, kept)
        try:
            self._process = subprocess.Popen(
                [*command, *map(str, (progress.fileno(), self._output.fileno(), lifeline))],
                bufsize=0,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                pass_fds=[progress.fileno(), lifeline, self._output.fileno()],
                start_new_session=True,
                env={**os.environ, "TMPDIR": directory},
            )
            if hasattr(fcntl, "F_SETSIG"):
                # The trial process does this as well, but may be stopped before.
                end_with_parent(lifeline, self._process.pid)
        finally:
            os.close(lifeline)
        assert self._process.stdout is not None  # noqa: S101  it is a pipe
        self._stdout = files.enter_context(self._process.stdout)
        self._received = bytearray()
        self.left: list[int] = []  # processes that could not be killed

    def follow(
        self, timeout_s: float | None, stop: Callable[[], Status | None], on_progress: Callable[[Progress], None]
    ) -> Status | None:
        """Wait for the result; return the status to stop the process with, if any."""
        deadline = time.monotonic() + timeout_s if timeout_s is not None else math.inf
        next_look, stopped = 0.0, 0
        while not self._is_complete():
            # Its workers may hold the pipe after its death; what it had sent is read to the end.
            ended = self._reap()
            readable, _, _ = select.select([self._stdout], [], [], 0 if ended else _TICK_S)
            chunk = os.read(self._stdout.fileno(), _PIPE_BYTES) if readable else b""
            self._received += chunk
            if not chunk and (readable or ended):
                return None
            now = time.monotonic()
            if now >= next_look:
                next_look = now + _TICK_S
                on_progress(self._progress())
                stopped = stopped + 1 if is_known_stopped(self._process.pid) else 0
                status = Status.TIMED_OUT if now >= deadline else stop()
                if status is not None or stopped >= _MOST_STOPPED:
                    return status or Status.FAILED
        on_progress(self._progress())
        return None

    def _progress(self) -> Progress:
        return Progress(*PROGRESS.unpack_from(self._shared))

    def filesystem(self) -> str:
        """Return the type of the file system of the work; empty if unknown."""
        name: bytes
        (name,) = FILESYSTEM.unpack_from(self._shared, PROGRESS.size)
        return name.decode("ascii")

    def _is_complete(self) -> bool:
        size = HEADER.size
        return len(self._received) >= size and len(self._received) - size >= HEADER.unpack_from(self._received)[0]

    def result(self) -> TrialResult:
        """Return the result, or why the process did not live to send it."""
        if self._is_complete():
            result: TrialResult = pickle.loads(memoryview(self._received)[HEADER.size :])  # noqa: S301  from a child
            if isinstance(result.value, Snapshot):
                try:
                    result.value.open(os.dup(self._output.fileno()))
                except OSError as error:
                    raise ran_short(error) from error
            return result
        code: int | None = self._process.returncode
        if code is not None and code < 0:  # what the workers of a killed process wrote is no defect
            return TrialResult(message=f"the trial process was killed by {signal_name(-code)}")
        message = "the trial process stopped reporting"
        if code is not None:
            message = f"the trial process ended with exit code {code} before it had reported"
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - 10_000))
        written = self._stderr.read().decode("utf-8", "backslashreplace").strip()
        shortages = list(filter(is_condition_text, written.splitlines()))
        if shortages:
            return TrialResult(message=f"{message}: {shortages[-1]}")
        return TrialResult(message=message, defect=written or None)

    def _reap(self) -> bool:
        """Collect the process if it has ended; return whether it has."""
        if self._process.returncode is None:
            pid, status, _ = os.wait4(self._process.pid, os.WNOHANG)
            if pid != 0:
                self._process.returncode = os.waitstatus_to_exitcode(status)
        return self._process.returncode is not None

    def close(self) -> None:
        """End every process of the trial.

        After a success it ends by itself. Otherwise the group gets SIGTERM first: multiprocessing's resource tracker
        survives it and then removes the semaphores of the others. Then the group is killed, and left to the kernel if
        it does not disappear soon, or the caller would wait as long as the file system does.
        """
        group = self._process.pid
        if self._is_complete():
            _wait_until(self._reap, _GRACE_S)
        if self._process.returncode != 0:
            signal_group(group, signal.SIGTERM)
            # Ended orphans are members until init has collected them, so this may take the whole limit.
            _wait_until(lambda: self._reap() and not signal_group(group, 0), _CLEAN_UP_S)
        # The group's number can't have been reused: its leader was collected only moments before.
        signal_group(group, signal.SIGKILL)
        _wait_until(lambda: self._reap() and not _living(group), _REAP_S)
        self.left = _living(group)
        if self._process.returncode is None:
            self.left = sorted({group, *self.left})
            _left.add(self._process)


def _wait_until(done: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not done() and time.monotonic() < deadline:
        time.sleep(0.002)


def _living(group: int) -> list[int]:
    """List the processes of a group that have not ended; zombies have."""
    found: list[int] = []
    if signal_group(group, 0):
        with suppress(OSError):  # unknown without descriptors
            import psutil

            for pid in psutil.pids():
                with suppress(ProcessLookupError, PermissionError, psutil.Error):
                    if os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                        found.append(pid)
    return found


def _describe_left(pids: list[int]) -> str:
    numbers = ", ".join(map(str, pids))
    which = f"its process {numbers}" if len(pids) == 1 else f"of its processes {numbers} each"
    return (
        f"{which} can't be ended and is left behind: it waits in the kernel, as for a file system that does not answer"
    )


def _why_ended(status: Status, timeout_s: float | None) -> str:
    match status:
        case Status.TIMED_OUT:
            return f"ended after its time limit of {timeout_s:g} s; raise --timeout, or scan a smaller tree"
        case Status.CANCELLED:
            return "cancelled"
        case Status.FAILED:
            return f"the trial process was stopped, and not continued within {_MOST_STOPPED * _TICK_S:g} s"
        case _:
            return "ended because runner was stopped"
