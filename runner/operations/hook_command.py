"""Hook commands: started without a shell, in a session of their own, and ended with all their children."""

import fcntl
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import IO

from runner.model.errors import reason_of
from runner.model.jobs import Notify
from runner.model.notifications import Notification
from runner.model.secrets import is_secret_variable
from runner.model.signals import signal_group, signal_name

# How long a command may take, and how long it may clean up after SIGTERM.
LIMIT_S = 30.0
_GRACE_S = 2.0
_POLL_S = 0.02
# How much of its stderr is kept, and how much may be on the disk.
_KEPT_BYTES = 2_000
_MAX_BYTES = 64_000


def run_hook(
    notify: Notify, text: Iterable[bytes], environment: Mapping[str, str], stop: Callable[[], bool]
) -> tuple[Notification, str]:
    """Run the command of a notification, with a text in pieces as standard input, and wait for its end.

    It starts in ``/``, where it keeps no file system from being unmounted. Its stdout is dropped. Children that it
    leaves running when it ends by itself continue: ``mail`` delivers that way.

    Returns:
        Its result, and the error alone without its output, empty for none but an exit code.
    """
    started_at, started_s = datetime.now(UTC), time.monotonic()
    inherited = {name: value for name, value in os.environ.items() if _is_for_hooks(name, value)}
    try:
        # Files instead of pipes: nobody has to read and write at once, and children that continue can write.
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as file:
            stdin.writelines(text)
            stdin.seek(0)
            stderr = _Stderr(file)
            process = subprocess.Popen(
                notify.command,
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=file,
                cwd="/",
                env={**inherited, **environment},
                start_new_session=True,
            )
            exit_code, error = _wait(process, stderr, started_s + LIMIT_S, stop)
            output = stderr.tail().decode("utf-8", "backslashreplace").replace("\0", "\\0").strip()
    except (OSError, ValueError) as failure:
        exit_code, error, output = None, f"can't be started: {reason_of(failure)}", ""
    result = Notification(
        event=notify.event,
        command=notify.command,
        started_at=started_at,
        wall_s=time.monotonic() - started_s,
        exit_code=exit_code,
        message=": ".join(filter(None, (error, output))) or None,
    )
    return result, error


def _is_for_hooks(name: str, value: str) -> bool:
    """Return whether hooks inherit a variable; a RUNNER_DB that may contain a password they do not."""
    if name == "RUNNER_DB" and any(mark in value for mark in "@?="):
        return False
    # The socket is the service manager's, for the daemon alone.
    return name != "NOTIFY_SOCKET" and not is_secret_variable(name, value)


def _wait(
    process: subprocess.Popen[bytes], stderr: "_Stderr", deadline_s: float, stop: Callable[[], bool]
) -> tuple[int | None, str]:
    """Wait until a process has ended, or end it; return its exit code and what went wrong."""
    try:
        while (code := process.poll()) is None:
            stderr.truncate()
            if stop():
                return None, "ended because runner was stopped"
            if time.monotonic() >= deadline_s:
                _end_group(process)
                return process.returncode, f"ended after its time limit of {LIMIT_S:g} s"
            time.sleep(_POLL_S)
    finally:
        if process.returncode is None:
            _end_group(process)
    return code, f"killed by {signal_name(-code)}" if code < 0 else ""


class _Stderr:
    """The end of what a command writes to stderr."""

    def __init__(self, file: IO[bytes]) -> None:
        self._number = file.fileno()
        self._earlier = b""
        fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)

    def truncate(self) -> None:
        """Keep it from filling the disk."""
        if os.fstat(self._number).st_size > _MAX_BYTES:
            self._earlier = self.tail()  # not written back, which would follow what the command writes meanwhile
            os.ftruncate(self._number, 0)

    def tail(self) -> bytes:
        """Return the last bytes."""
        size = os.fstat(self._number).st_size
        return (self._earlier + os.pread(self._number, _KEPT_BYTES, max(0, size - _KEPT_BYTES)))[-_KEPT_BYTES:]


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group, by SIGTERM and then by SIGKILL."""
    signal_group(process.pid, signal.SIGTERM)
    deadline_s = time.monotonic() + _GRACE_S
    while process.poll() is None or signal_group(process.pid, 0):
        if time.monotonic() >= deadline_s:
            signal_group(process.pid, signal.SIGKILL)
            break
        time.sleep(_POLL_S)
    with suppress(subprocess.TimeoutExpired):  # a process that became another user's can't be killed
        process.wait(_GRACE_S)
