"""The dask strategy: workers of a Dask cluster read slices of the tree.

The engine is an extra. This module does not import it, since every user's runner asks whether a strategy is parallel.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec

from runner.model.errors import ScanError, is_condition, reason_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.scan.snapshot import Snapshot
    from runner.scan.walk import Report
    from runner.strategies.base import Cluster, Scan, ScanRequest

MISSING = "the strategy dask needs an extra; `pip install 'runner[dask]'` installs it"
# Limit for the scheduler to accept a connection and to greet; a scan looks twice.
_REACH_S = 0.7


def is_installed() -> bool:
    """Return whether the engine can be imported here."""
    return find_spec("distributed") is not None


class Dask:
    """Slices read by the workers of a cluster."""

    parallel = True

    def prepare(self, request: ScanRequest) -> None:
        """Import the engine, unless the scheduler does not answer; the scan reports why."""
        with suppress(ScanError):
            _load_driver(request.cluster)

    def scan(self, request: ScanRequest, snapshot: Snapshot, report: Report) -> Scan:
        """Scan a tree on a cluster; see :class:`~runner.strategies.base.Strategy`."""
        _load_driver(request.cluster)
        from runner.strategies.dask.driver import scan

        return scan(request, snapshot, report)


def _load_driver(cluster: Cluster) -> None:
    """Import the engine, which takes longer than to find out that nothing answers."""
    sys.path.extend(path for path in cluster.engine_path if path not in sys.path)
    # Else the engine writes a template of its settings into the user's home directory.
    os.environ.setdefault("DASK_CONFIG", os.environ.get("TMPDIR", "/nonexistent"))
    if cluster.scheduler != "local":
        _reach(cluster.scheduler)
    try:
        import_module("runner.strategies.dask.driver")
    except ImportError as error:
        if is_condition(error):
            raise
        raise ScanError(MISSING) from error


def _reach(scheduler: str) -> None:
    """Connect to the scheduler's port; raise ScanError if nothing answers, which a stopped one does not."""
    import socket

    protocol, _, address = scheduler.partition("://")
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _REACH_S) as connection:
            if protocol == "tcp":  # by TLS, the client speaks first
                connection.recv(1)
    except TimeoutError as error:
        raise ScanError(unreachable(scheduler, f"no answer within {_REACH_S:g} s")) from error
    except (OSError, OverflowError) as error:
        raise ScanError(unreachable(scheduler, reason_of(error))) from error


def unreachable(scheduler: str, reason: str) -> str:
    """Return in one line that the scheduler does not answer, with the cure."""
    return f"the Dask scheduler {scheduler} can't be reached: {reason}; start it, or correct dask_scheduler"
