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
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import runner
from runner.measure.leftovers import trial_directory
from runner.measure.trial import FILESYSTEM, HEADER, PROGRESS, SHARED_BYTES, TrialResult, end_with_parent
from runner.model.errors import ScanError, is_condition_text, ran_short, reason_of
from runner.model.runs import Status
from runner.model.signals import is_known_stopped, signal_group, signal_name

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The progress of a trial process.

    Attributes:
        directories: Directories read.
        entries: Entries listed in them.
        files: Entries found.
    """

    directories: int
    entries: int
    files: int


def _never_stop() -> Status | None:
    return None


def carry_out(
    task: Task,
    *,
    timeout_s: float | None = None,
    stop: Callable[[], Status | None] = _never_stop,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrialResult:
    """Execute a task in a fresh process.

    Args:
        task: The task.
        timeout_s: Seconds after which the process is ended; None for no limit.
        stop: Called several times a second; a returned status ends the process and becomes that of the result.
        on_progress: Called several times a second with the progress.

    Returns:
        Its result. No process of it remains, except one that waits in the kernel and can't be ended before the kernel
        releases it; the message says so.

    Raises:
        ScanError: If the process can't be started.
    """
    request = pickle.dumps(task, protocol=5)
    with ExitStack() as files:
        try:
            trial, shared, stderr = _start(files)
        except (OSError, MemoryError) as error:  # no descriptors, or no space for its temporary files
            named = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
            raise ScanError(f"a process for the scan can't be started: {reason_of(error)}{named}") from error

        def sample() -> None:
            if on_progress is not None:
                directories, entries, found = PROGRESS.unpack_from(shared, 0)
                on_progress(Progress(directories=directories, entries=entries, files=found))

        try:
            ended_as = trial.follow(request, timeout_s, stop, sample)
        except MemoryError as error:  # for the result
            raise ran_short(error) from error
        finally:
            trial.end()
        if ended_as is not None:
            result = TrialResult(status=ended_as, message=_why_ended(ended_as, timeout_s))
        else:
            result = trial.result() or _without_result(trial.exit_code, stderr)
            result.status = Status.SUCCEEDED if result.message is None else Status.FAILED
        if trial.left and result.message is not None:
            result.left, result.message = True, f"{result.message}; {trial.remainder()}"
        (filesystem,) = FILESYSTEM.unpack_from(shared, PROGRESS.size)
        result.filesystem = filesystem.decode("ascii")
        return result


def _start(files: ExitStack) -> tuple[_Trial, mmap.mmap, IO[bytes]]:
    """Start a trial process; return it, the memory shared with it, and its stderr."""
    directory = files.enter_context(trial_directory())
    # Open files in the directory identify the process even before it executes its program.
    try:
        progress_file = files.enter_context(tempfile.TemporaryFile(dir=directory))  # noqa: SIM115  the stack closes it
        stderr = files.enter_context(tempfile.TemporaryFile(dir=directory))  # noqa: SIM115  the stack closes it
        # Access to a mapped hole in a file on a full disk ends in SIGBUS.
        os.write(progress_file.fileno(), bytes(SHARED_BYTES))
    except OSError as error:
        raise OSError(error.errno, reason_of(error), os.path.dirname(directory)) from error  # noqa: PTH120
    shared = files.enter_context(mmap.mmap(progress_file.fileno(), SHARED_BYTES, access=mmap.ACCESS_READ))
    return _Trial(progress_file, stderr, directory), shared, stderr


# Processes that could not be killed; they are collected once the kernel has released them.
_left: list[subprocess.Popen[bytes]] = []


class _Trial:
    """A started trial process, the lifeline to it and the pipe from it."""

    def __init__(self, progress_file: IO[bytes], stderr: IO[bytes], directory: str) -> None:
        for process in _left.copy():
            if process.poll() is not None:
                with suppress(ValueError):  # another thread was faster
                    _left.remove(process)
        command = [sys.executable, *_FLAGS, "-c", _BOOT, str(Path(runner.__file__).parent.parent)]
        lifeline, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*command, str(progress_file.fileno()), str(lifeline)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                pass_fds=[progress_file.fileno(), lifeline],
                start_new_session=True,
                env={**os.environ, "TMPDIR": directory},
            )
            if hasattr(fcntl, "F_SETSIG"):
                # The trial process does this as well, but may be stopped before.
                end_with_parent(lifeline, self._process.pid)
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(lifeline)
        self.exit_code: int | None = None
        # Processes that could not be killed.
        self.left: list[int] = []
        self._received = bytearray()

    def follow(
        self,
        request: bytes,
        timeout_s: float | None,
        stop: Callable[[], Status | None],
        sample: Callable[[], None],
    ) -> Status | None:
        """Send the task and wait for the result; return the status to stop it with, if any."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018  they are pipes
        # The pipe holds 64 KiB, and a stopped trial process reads nothing.
        os.set_blocking(stdin.fileno(), False)
        unsent = memoryview(HEADER.pack(len(request)) + request)
        deadline = time.monotonic() + timeout_s if timeout_s is not None else math.inf
        next_look, stopped = 0.0, 0
        while not self._complete():
            readable, writable, _ = select.select([stdout], [stdin] if unsent else [], [], _TICK_S)
            if writable:
                unsent = _send(stdin, unsent)
            if readable:
                chunk = os.read(stdout.fileno(), _PIPE_BYTES)
                self._received += chunk
                if not chunk:
                    return None  # it died, and so did its workers
            elif self._reap():
                # It died, but its workers still hold the pipe; or it has reported and ended since the select above.
                while select.select([stdout], [], [], 0)[0] and (chunk := os.read(stdout.fileno(), _PIPE_BYTES)):
                    self._received += chunk
                return None
            now = time.monotonic()
            if now >= next_look:
                next_look = now + _TICK_S
                sample()
                stopped = stopped + 1 if is_known_stopped(self._process.pid) else 0
                status = Status.TIMED_OUT if now >= deadline else stop()
                if status is not None:
                    return status
                if stopped >= _MOST_STOPPED:
                    return Status.FAILED
        sample()
        return None

    def _complete(self) -> bool:
        size = HEADER.size
        return len(self._received) >= size and len(self._received) - size >= HEADER.unpack_from(self._received)[0]

    def result(self) -> TrialResult | None:
        """Return the result; None if the process did not live to send it."""
        if not self._complete():
            return None
        try:
            result: TrialResult = pickle.loads(memoryview(self._received)[HEADER.size :])  # noqa: S301  from a child
        except MemoryError as error:
            raise ran_short(error) from error
        return result

    def _reap(self) -> bool:
        """Collect the process if it has ended; return whether it has."""
        if self.exit_code is None:
            pid, status, _ = os.wait4(self._process.pid, os.WNOHANG)
            if pid == 0:
                return False
            self.exit_code = self._process.returncode = os.waitstatus_to_exitcode(status)
        return True

    def end(self) -> None:
        """End every process of the trial.

        After a success it ends by itself. Otherwise the group gets SIGTERM first: multiprocessing's resource tracker
        survives it and then removes the semaphores of the others. Then the group is killed, and left to the kernel if
        it does not disappear soon, or the caller would wait as long as the file system does.
        """
        if self._complete():
            self._wait_until(self._reap, _GRACE_S)
        if self.exit_code != 0:
            signal_group(self._process.pid, signal.SIGTERM)
            # Ended orphans are members until init has collected them, so this may take the whole limit.
            self._wait_until(lambda: self._reap() and not signal_group(self._process.pid, 0), _CLEAN_UP_S)
        # The group's number can't have been reused: its leader was collected only moments before.
        signal_group(self._process.pid, signal.SIGKILL)
        self._wait_until(lambda: self._reap() and not _living(self._process.pid), _REAP_S)
        self.left = _living(self._process.pid)
        if self.exit_code is None:
            self.left = [self._process.pid, *(pid for pid in self.left if pid != self._process.pid)]
            _left.append(self._process)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None  # noqa: S101  they are pipes
            pipe.close()
        os.close(self._lifeline)

    def remainder(self) -> str:
        """Return in one line which processes could not be ended."""
        numbers = ", ".join(map(str, self.left))
        which = f"its process {numbers}" if len(self.left) == 1 else f"of its processes {numbers} each"
        return (
            f"{which} can't be ended and is left behind: it waits in the kernel, as for a file system that does not "
            "answer"
        )

    def _wait_until(self, done: Callable[[], bool], limit_s: float) -> None:
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


def _send(stdin: IO[bytes], unsent: memoryview) -> memoryview:
    """Send as much as the pipe takes; return the rest."""
    try:
        return unsent[os.write(stdin.fileno(), unsent) :]
    except BrokenPipeError:  # it has died, which the other pipe shows
        return unsent[:0]


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


def _without_result(exit_code: int | None, stderr: IO[bytes]) -> TrialResult:
    """Return why a trial process sent no result."""
    if exit_code is not None and exit_code < 0:  # what the workers of a killed process wrote is no defect
        return TrialResult(message=f"the trial process was killed by {signal_name(-exit_code)}")
    message = "the trial process stopped reporting"
    if exit_code is not None:
        message = f"the trial process ended with exit code {exit_code} before it had reported"
    size = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, size - 10_000))
    written = stderr.read().decode("utf-8", "backslashreplace").strip()
    shortages = list(filter(is_condition_text, written.splitlines()))
    if shortages:
        return TrialResult(message=f"{message}: {shortages[-1]}")
    return TrialResult(message=message, defect=written or None)
