"""The web pages of a daemon, in a process of their own so that no page delays a firing."""

import logging
import subprocess
import sys
import threading
import time

_log = logging.getLogger(__name__)

# How long to wait before starting it again; doubled while it does not run for long.
_FIRST_DELAY_S = 1.0
_MOST_DELAY_S = 60.0
_LONG_S = 60.0
# How long a stopping daemon waits for its end.
_GRACE_S = 4.0


class WebProcess:
    """Runs ``runner web``, and starts it again if it ends.

    It reads the database from the environment, and ends when its standard input does, even if the daemon is killed.
    """

    def __init__(self, port: int) -> None:
        self._command = [sys.executable, "-m", "runner", "web", "--port", str(port), "--until-eof"]
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._work, name="web", daemon=True)

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    def stop(self) -> None:
        """Stop it, by force if it does not end in time."""
        with self._starting:
            self._stopping.set()
        process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()
            self._thread.join(_GRACE_S)
            process.kill()

    def _work(self) -> None:
        delay_s = _FIRST_DELAY_S
        while not self._stopping.is_set():
            began_s = time.monotonic()
            code = self._serve()
            if self._stopping.is_set():
                return
            if time.monotonic() - began_s > _LONG_S:
                delay_s = _FIRST_DELAY_S
            _log.error("the web pages ended with exit code %d; starting them again in %.0f s", code, delay_s)
            self._stopping.wait(delay_s)
            delay_s = min(2 * delay_s, _MOST_DELAY_S)

    def _serve(self) -> int:
        """Start the process, log what it writes, and return its exit code."""
        with self._starting:
            if self._stopping.is_set():
                return 0
            process = self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,  # ^C is for the daemon
            )
        for line in process.stderr or ():
            _log.info("web: %s", line.rstrip().removesuffix(" (^C ends it)"))
        return process.wait()
