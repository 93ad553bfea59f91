"""The interface of a strategy."""

from __future__ import annotations

from runner.scan.match import PlainSelection

# Default interval of the full scans by which an incremental strategy verifies itself.
FULL_EVERY_S = 24 * 60 * 60

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from runner.scan.match import Selecting
    from runner.scan.snapshot import Snapshot
    from runner.scan.walk import Report

    class Strategy(Protocol):
        """A way to scan a tree; stateless."""

        @property
        def parallel(self) -> bool:
            """Whether it uses workers."""

        def scan(self, request: ScanRequest, snapshot: Snapshot, report: Report) -> Scan:
            """Scan a tree.

            Args:
                request: The tree.
                snapshot: Receives what is found; empty.
                report: Called with the directories read, entries listed and files found since the last call.

            Raises:
                ScanError: If the root can't be scanned or a worker died.
            """


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
    ) -> None:
        self.root = root
        self.selection = PlainSelection(selection)
        self.workers = workers
        self.start_method = start_method
        self.cache = cache
        self.full_every_s = full_every_s
        self.mounts = mounts


class Scan:
    """A finished scan.

    Args:
        startup_s: Seconds until the strategy could begin to read.
        end: Ends what the scan started; called after the clock has stopped.
    """

    def __init__(self, *, startup_s: float = 0.0, end: Callable[[], None] = lambda: None) -> None:
        self.startup_s = startup_s
        self.end = end
