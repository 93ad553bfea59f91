"""Telling a command something: started without a shell, in a session of its own, and ended with all it started."""

import fcntl
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from runner.model.errors import reason_of
from runner.model.secrets import is_secret_variable
from runner.model.signals import signal_group, signal_name

# How long a command may take, how long it may clean up once it is told to end, and how often it is looked at.
LIMIT_S = 30.0
_GRACE_S = 2.0
_TICK_S = 0.02
# How much is kept of what it writes to stderr, and how much may lie on the disk meanwhile.
_KEPT_BYTES = 2_000
_MOST_BYTES = 64_000
# Of whoever started the daemon, who listens there to the daemon alone.
_NOT_FOR_COMMANDS = frozenset({"NOTIFY_SOCKET"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """How a command took what it was told.

    Attributes:
        exit_code: How it ended, negative for a signal; None if it was not started, or stopped before it had ended.
        wall_s: Seconds that it took.
        why: What went wrong, as it may be logged; None for an exit code alone.
        message: The same, and the end of what it wrote to stderr; None if there is nothing to say.
    """

    exit_code: int | None
    wall_s: float
    why: str | None
    message: str | None


def tell_command(command: Sequence[str], text: bytes, environment: Mapping[str, str], stop: Callable[[], bool]) -> Told:
    """Carry out a command and wait for its end.

    It starts in ``/``, where it keeps no file system from being unmounted. What it writes to stdout is dropped. What it
    has started and left running when it ends by itself goes on: ``mail`` delivers that way.

    Args:
        command: A program and its arguments.
        text: What it finds on standard input.
        environment: What it gets besides the environment of this process.
        stop: Asked many times a second whether to end it.
    """
    began = time.monotonic()
    inherited = {name: value for name, value in os.environ.items() if _is_for_commands(name, value)}
    try:
        # Files instead of pipes: nobody has to read and write at once, and what outlives the command can go on writing.
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as file:
            stdin.write(text)
            stdin.seek(0)
            stderr = _Stderr(file)
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=file,
                cwd="/",
                env={**inherited, **environment},
                start_new_session=True,
            )
            exit_code, why = _follow(process, stderr, began + LIMIT_S, stop)
            said = stderr.tail().decode("utf-8", "backslashreplace").replace("\0", "\\0").strip()
    except (OSError, ValueError) as error:
        exit_code, why, said = None, f"can't be started: {reason_of(error)}", ""
    return Told(
        exit_code=exit_code,
        wall_s=time.monotonic() - began,
        why=why or None,
        message=": ".join(filter(None, (why, said))) or None,
    )


def _is_for_commands(name: str, value: str) -> bool:
    """Return whether a command gets a variable: one that needs the database is given a password of its own.

    It gets RUNNER_DB only where that can't hold a password, however it is spelt.
    """
    if name == "RUNNER_DB" and any(mark in value for mark in "@?="):
        return False
    return name not in _NOT_FOR_COMMANDS and not is_secret_variable(name, value)


def _follow(
    process: subprocess.Popen[bytes], stderr: "_Stderr", deadline_s: float, stop: Callable[[], bool]
) -> tuple[int | None, str]:
    """Wait until a process has ended, or end it; returns its exit code and what went wrong."""
    try:
        while (code := process.poll()) is None:
            stderr.bound()
            if stop():
                return None, "ended because runner was stopped"
            if time.monotonic() >= deadline_s:
                _end_group(process)
                return process.returncode, f"ended after its time limit of {LIMIT_S:g} s"
            time.sleep(_TICK_S)
    finally:
        if process.returncode is None:
            _end_group(process)
    return code, f"killed by {signal_name(-code)}" if code < 0 else ""


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and whatever else is in its group: asked first, then killed."""
    signal_group(process.pid, signal.SIGTERM)
    deadline_s = time.monotonic() + _GRACE_S
    while process.poll() is None or signal_group(process.pid, 0):
        if time.monotonic() >= deadline_s:
            signal_group(process.pid, signal.SIGKILL)
            break
        time.sleep(_TICK_S)
    with suppress(subprocess.TimeoutExpired):  # one that became another user's can't be killed
        process.wait(_GRACE_S)


class _Stderr:
    """What a command writes to stderr, of which the end is kept."""

    def __init__(self, file: IO[bytes]) -> None:
        self._number = file.fileno()
        self._earlier = b""
        fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)

    def bound(self) -> None:
        """Keep it from filling the disk."""
        if os.fstat(self._number).st_size > _MOST_BYTES:
            self._earlier = self.tail()
            os.ftruncate(self._number, 0)

    def tail(self) -> bytes:
        """Give its last bytes."""
        size = os.fstat(self._number).st_size
        return (self._earlier + os.pread(self._number, _KEPT_BYTES, max(0, size - _KEPT_BYTES)))[-_KEPT_BYTES:]
