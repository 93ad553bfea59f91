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
# As docs/cluster.md recommends.
_NO_PROFILE = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
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
        preload: Text of a module that every worker imports first.
        environment: Further variables of their environment.
    """

    def __init__(
        self, directory: Path, workers: int = 2, options: tuple[str, ...] = (), preload: str = "", **environment: str
    ) -> None:
        self.directory = directory
        self.workers: list[subprocess.Popen[bytes]] = []
        self._options = options
        self._environment = environment
        (directory / "preload.py").write_text(preload)
        self._file = directory / "scheduler.json"
        protocol = ("--protocol", "tls") if options else ()
        self.scheduler = self._start("scheduler", "--port", "0", "--scheduler-file", str(self._file), *protocol)
        for _ in range(workers):
            self.add_worker()
        self.wait_for_workers(workers)
        self.address: str = json.loads(self._file.read_text())["address"]

    def add_worker(self, *wrapper: str, threads: int = 1, **environment: str) -> subprocess.Popen[bytes]:
        """Start one more worker, by a program that executes it if one is given."""
        options = ["--nthreads", str(threads), "--no-nanny", "--local-directory", str(self.directory)]
        options += ["--preload", str(self.directory / "preload.py"), "--scheduler-file", str(self._file)]
        self.workers.append(self._start("worker", *options, wrapper=wrapper, **environment))
        return self.workers[-1]

    def _start(
        self, what: str, *options: str, wrapper: tuple[str, ...] = (), **environment: str
    ) -> subprocess.Popen[bytes]:
        command = [*wrapper, sys.executable, "-m", f"distributed.cli.dask_{what}", *_LOOPBACK, *self._options, *options]
        given = {**os.environ, "DASK_CONFIG": str(self.directory), **_NO_PROFILE, **self._environment, **environment}
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=given)

    def known(self) -> int:
        """Return how many workers have ever connected."""
        return self._count("Starting worker compute stream")

    def wait_for_workers(self, number: int) -> None:
        """Wait until this many workers have ever connected."""
        wait_until(lambda: self.known() >= number)

    @property
    def cluster(self) -> Cluster:
        """The cluster as a scan is given it."""
        return Cluster(self.address)

    def end_worker(self, worker: subprocess.Popen[bytes]) -> None:
        """End a worker, and wait until the scheduler knows."""
        ended = self._count("Remove worker addr")
        worker.kill()
        worker.wait()
        self.workers.remove(worker)
        wait_until(lambda: self._count("Remove worker addr") > ended)

    def _count(self, text: str) -> int:
        return (self.directory / "log").read_text().count(text)

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
