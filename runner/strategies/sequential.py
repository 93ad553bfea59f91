"""One process that reads one folder after another."""

from runner.scan.walk import Report, Walker
from runner.strategies.base import Scan, ScanRequest, to_snapshot


class Sequential:
    """The baseline that every other strategy is compared with."""

    parallel = False

    def scan(self, request: ScanRequest, report: Report) -> Scan:
        """Scan a tree in this process; see :class:`~runner.strategies.base.Strategy`."""
        walker = Walker(request.root, request.selection)
        try:
            part = walker.read([""], report)
            walker.check_root()
        finally:
            walker.close()
        return Scan(snapshot=to_snapshot(part))
