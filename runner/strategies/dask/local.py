"""A cluster of this machine: a scheduler and workers that listen on loopback only, and end with the trial process.

They belong to its process group, which is killed with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from runner.model.errors import ScanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.strategies.base import Cluster

# Limit for all of them to start; each imports the engine.
_START_S = 60.0
_POLL_S = 0.005
# --no-dashboard alone would listen on all interfaces.
_LOOPBACK = ("--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--no-dashboard")
_WORKER = ("--nthreads", "1", "--no-nanny", "--memory-limit", "0")
# The engine's profiler looks at every task a hundred times a second.
_NO_PROFILE = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
# As isolated as a trial process.
_FLAGS = ("-I", "-S", "-X", "utf8")
_BOOT = """\
import runpy, sys
paths, module = sys.argv.pop(1), sys.argv.pop(1)
sys.path[1:1] = paths.splitlines()
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


class LocalCluster:
    """A scheduler with workers, which are starting.

    Args:
        workers: Their number.
        cluster: Where the engine is.
    """

    def __init__(self, workers: int, cluster: Cluster) -> None:
        self._paths = "\n".join((str(Path(__file__).parents[3]), *cluster.engine_path))
        self._directory = os.environ.get("TMPDIR", ".")
        self._file = Path(self._directory, "scheduler.json")
        self._deadline_s = time.monotonic() + _START_S
        self._processes = [self._start("scheduler", "--port", "0")]
        for _ in range(workers):
            self._processes.append(self._start("worker", *_WORKER, "--local-directory", self._directory))

    def _start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, *_FLAGS, "-c", _BOOT, self._paths, f"distributed.cli.dask_{what}"]
        command += [*_LOOPBACK, *options, "--scheduler-file", str(self._file)]
        return subprocess.Popen(command, stdout=2, env=os.environ | _NO_PROFILE)

    def address(self) -> str:
        """Wait for the scheduler; return its address."""
        while True:
            self.check()
            with suppress(FileNotFoundError, ValueError):
                return str(json.loads(self._file.read_bytes())["address"])
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Check that the processes start in time and none has ended; raise ScanError otherwise."""
        if time.monotonic() >= self._deadline_s or any(process.poll() is not None for process in self._processes):
            raise ScanError(
                "a Dask cluster on this machine can't be started; use fewer workers, or see if memory lacks"
            )

    def end(self) -> None:
        """End the processes and collect them, so that their CPU time counts."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
