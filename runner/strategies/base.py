"""The interface of a strategy."""

from __future__ import annotations

import sys

from runner.scan.match import PlainSelection

# Default interval of the full scans by which an incremental strategy verifies itself.
FULL_EVERY_S = 24 * 60 * 60

NOTHING_USED = (0.0, 0.0, 0, 0)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, TypeAlias

    from runner.scan.match import Selecting
    from runner.scan.snapshot import Snapshot
    from runner.scan.walk import Report

    # User and system CPU seconds, peak resident memory in bytes, and blocks read from devices.
    Usage: TypeAlias = tuple[float, float, int, int]

    class Strategy(Protocol):
        """A way to scan a tree; stateless."""

        @property
        def parallel(self) -> bool:
            """Whether it uses workers."""

        def prepare(self, request: ScanRequest) -> None:
            """Import what a scan needs, outside the measured time."""

        def scan(self, request: ScanRequest, snapshot: Snapshot, report: Report) -> Scan:
            """Scan a tree.

            Args:
                request: The tree.
                snapshot: Receives what is found; empty.
                report: Called with the directories read, entries listed and files found since the last call.

            Raises:
                ScanError: If the root can't be scanned or a worker died.
            """


class Cluster:
    """Where the strategy dask finds its workers.

    Args:
        scheduler: The scheduler's address, ``tcp://…`` or ``tls://…``, or ``local`` for a cluster of its own.
        tls_ca: The file of the certificate authority.
        tls_cert: The file of the client's certificate.
        tls_key: The file of its key.

    Attributes:
        engine_path: The directories of installed packages, which a trial process leaves out.
    """

    def __init__(self, scheduler: str = "local", *, tls_ca: str = "", tls_cert: str = "", tls_key: str = "") -> None:
        self.scheduler = scheduler
        self.tls_ca = tls_ca
        self.tls_cert = tls_cert
        self.tls_key = tls_key
        self.engine_path = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]


class ScanRequest:
    """One tree to scan.

    Args:
        root: Absolute path of the directory.
        selection: What to find.
        workers: Number of processes that a parallel strategy may use.
        start_method: How it starts them: fork, forkserver or spawn.
        cache: Absolute path of an incremental strategy's cache file; None for none.
        full_every_s: Seconds between its full scans.
        mounts: Mount points of the last saved run, relative to the root.
        cluster: Where the strategy dask finds its workers.
    """

    def __init__(
        self,
        *,
        root: bytes,
        selection: Selecting,
        workers: int,
        start_method: str,
        cache: bytes | None = None,
        full_every_s: int = FULL_EVERY_S,
        mounts: tuple[bytes, ...] = (),
        cluster: Cluster | None = None,
    ) -> None:
        self.root = root
        self.selection = PlainSelection(selection)
        self.workers = workers
        self.start_method = start_method
        self.cache = cache
        self.full_every_s = full_every_s
        self.mounts = mounts
        self.cluster = cluster or Cluster()


class Prepared:
    """A strategy that imports all it needs with its module."""

    def prepare(self, request: ScanRequest) -> None:
        """Prepare nothing."""


class Scan:
    """A finished scan.

    Args:
        startup_s: Seconds until the strategy could begin to read.
        end: Ends what the scan started; called after the clock has stopped.
        workers: Number of workers that were used, if that is not the number of the request.
        remote: What processes used that this one has not started.
        detail: A remark about its figures.
    """

    def __init__(
        self,
        *,
        startup_s: float = 0.0,
        end: Callable[[], None] = lambda: None,
        workers: int | None = None,
        remote: Usage = NOTHING_USED,
        detail: str = "",
    ) -> None:
        self.startup_s = startup_s
        self.end = end
        self.workers = workers
        self.remote = remote
        self.detail = detail
