"""Snapshots in this process, without a trial."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from runner.scan.snapshot import Part, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runner.scan.walk import Report
    from runner.strategies.base import Scan, ScanRequest, Strategy


def stored(pieces: Iterable[Part] = ()) -> Snapshot:
    """Return a snapshot in a file of its own; empty without pieces."""
    with tempfile.TemporaryFile() as file:
        snapshot = Snapshot(os.dup(file.fileno()))
    snapshot.extend(pieces)
    return snapshot


def scanned(strategy: Strategy, request: ScanRequest, report: Report = lambda *_: None) -> tuple[Snapshot, Scan]:
    """Scan a tree in this process; return what was found before the scan is ended."""
    snapshot = stored()
    return snapshot, strategy.scan(request, snapshot, report)


def joined(pieces: Iterable[Part]) -> Part:
    """Join the pieces of a part with their findings."""
    whole = Part()
    for piece in pieces:
        for name in ("names", "found", "stats", "places", "stamps", "problems", "unread", "rest"):
            getattr(whole, name).extend(getattr(piece, name))
    return whole
