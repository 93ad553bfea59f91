"""The sequential strategy: one process reads one directory after another."""

from __future__ import annotations

from runner.scan.walk import Walker
from runner.strategies.base import Prepared, Scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.scan.snapshot import Snapshot
    from runner.scan.walk import Report
    from runner.strategies.base import ScanRequest


class Sequential(Prepared):
    """The baseline that every other strategy is compared with."""

    parallel = False

    def scan(self, request: ScanRequest, snapshot: Snapshot, report: Report) -> Scan:
        """Scan a tree in this process; see :class:`~runner.strategies.base.Strategy`."""
        walker = Walker(request.root, request.selection)
        try:
            snapshot.extend(walker.read([b""], report))
            walker.check_root()
        finally:
            walker.close()
        return Scan()
