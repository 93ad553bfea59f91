"""A Dask cluster for tests and benchmarks: a scheduler and workers as processes on loopback, ended by their numbers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from runner.strategies.base import Cluster

_LOOPBACK = ("--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--no-dashboard")
_LIMIT_S = 60.0


def wait_until(done: Callable[[], Any]) -> None:
    """Wait until something is true."""
    deadline_s = time.monotonic() + _LIMIT_S
    while not done():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.01)


class RealCluster:
    """A scheduler and workers.

    Args:
        directory: Receives their files and logs.
        workers: Number of workers.
        options: Options of all of them, such as for TLS.
        preload: A module that every worker imports first.
    """

    def __init__(
        self, directory: Path, workers: int = 2, options: tuple[str, ...] = (), preload: Path | None = None
    ) -> None:
        self.directory = directory
        self.workers: list[subprocess.Popen[bytes]] = []
        self._options = options
        self._preload = ("--preload", str(preload)) if preload else ()
        self._file = directory / "scheduler.json"
        protocol = ("--protocol", "tls") if options else ()
        self.scheduler = self._start("scheduler", "--port", "0", "--scheduler-file", str(self._file), *protocol)
        for _ in range(workers):
            self.add_worker()
        self.wait_for_workers(workers)
        self.address: str = json.loads(self._file.read_text())["address"]

    def add_worker(self, threads: int = 1, **environment: str) -> subprocess.Popen[bytes]:
        """Start one more worker."""
        options = ("--nthreads", str(threads), "--no-nanny", "--local-directory", str(self.directory), *self._preload)
        self.workers.append(self._start("worker", *options, "--scheduler-file", str(self._file), **environment))
        return self.workers[-1]

    def _start(self, what: str, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{what}", *_LOOPBACK, *self._options, *options],
                stdout=log,
                stderr=log,
                env={**os.environ, "DASK_CONFIG": str(self.directory), **environment},
            )

    def wait_for_workers(self, number: int) -> None:
        """Wait until this many workers have ever connected."""
        wait_until(lambda: (self.directory / "log").read_text().count("Starting worker compute stream") >= number)

    @property
    def cluster(self) -> Cluster:
        """The cluster as a scan is given it."""
        return Cluster(self.address)

    def end(self) -> None:
        """End all processes."""
        for process in (self.scheduler, *self.workers):
            process.send_signal(signal.SIGKILL)
        for process in (self.scheduler, *self.workers):
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
