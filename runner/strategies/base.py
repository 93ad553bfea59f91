"""What a strategy is given and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from runner.model.jobs import Selection
from runner.model.runs import Problem
from runner.scan.snapshot import Listing, Snapshot
from runner.scan.walk import Part, Report


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanRequest:
    """One tree to scan.

    Attributes:
        root: Absolute path of the folder, bytes.
        selection: What to find.
        workers: Processes that a parallel strategy may use.
        start_method: How it starts them: fork, forkserver or spawn.
    """

    root: bytes
    selection: Selection
    workers: int
    start_method: str


def _nothing_to_end() -> None:
    """End a scan that started nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """A finished scan.

    Attributes:
        snapshot: The complete list.
        startup_s: Seconds until the strategy could begin to read.
        end: Ends what the scan started; called once the clock has stopped.
    """

    snapshot: Snapshot
    startup_s: float = 0.0
    end: Callable[[], None] = _nothing_to_end


class Strategy(Protocol):
    """A way to scan a tree; stateless, so that one instance serves every scan."""

    @property
    def parallel(self) -> bool:
        """Whether it uses workers."""

    def scan(self, request: ScanRequest, report: Report) -> Scan:
        """Scan a tree.

        Args:
            request: The tree.
            report: Told of progress: folders read, entries listed and files found since last time.

        Returns:
            The finished scan.

        Raises:
            ScanError: If the root can't be scanned or a worker died.
        """


def to_snapshot(part: Part) -> Snapshot:
    """Turn what a walk read into a snapshot."""
    return Snapshot(
        listings=tuple(map(Listing._make, part.rows)),
        problems=tuple(Problem(path=path, errno=number, text=text) for path, number, text in part.problems),
    )
