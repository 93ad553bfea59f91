"""The incremental strategy: it reads only directories with changed stamps, and sometimes all, to verify this."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial

from runner.model.errors import ScanError, reason_of
from runner.scan.cache import NOTHING, Cache, Clock, key_of, load, store
from runner.scan.rescan import SETTLED_AFTER_NS, differing, look_reaches, rescan, settle
from runner.scan.walk import Walker
from runner.strategies.base import Prepared, Scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.scan.snapshot import Snapshot
    from runner.scan.walk import Report
    from runner.strategies.base import ScanRequest

_DUE = "a full scan was due, which verifies the others"
# Maximum number of directories named in a message.
_MOST_NAMED = 5
# Tolerated backward step of the clock between two scans: reading two clocks takes a moment, and steps that add up to
# less than the minimum age of settled stamps are harmless.
_STEP_NS = 1_000_000_000


class Incremental(Prepared):
    """A scan whose cost grows with what has changed."""

    parallel = False

    def scan(self, request: ScanRequest, snapshot: Snapshot, report: Report) -> Scan:
        """Scan a tree again; see :class:`~runner.strategies.base.Strategy`."""
        if request.cache is None:
            raise ScanError("an incremental scan needs a place for what it remembers; run it as a strategy of a job")
        clock = Clock()
        loaded = load(request.cache)
        cached, why_full = (None, loaded) if isinstance(loaded, str) else (loaded, _why_full(loaded[0], request, clock))
        walker = Walker(request.root, request.selection, settle=True)
        try:
            if why_full is None and not _enter(walker):
                why_full = "the root may be read but not entered"
            if cached is None or why_full is not None:
                _scan_full(walker, cached, why_full or "", snapshot, report)
                end: Callable[[], None] = partial(_store_cache, request, clock, None, snapshot)
            else:
                end = _scan_again(walker, *cached, request, clock, snapshot, report)
            walker.check_root()
        finally:
            walker.close()
        return Scan(end=end)


def _enter(walker: Walker) -> bool:
    """Make the root the current directory, from which the others are looked at; return whether that is allowed."""
    try:
        os.fchdir(walker.fd)
    except PermissionError:
        return False
    return True


def _why_full(cache: Cache, request: ScanRequest, clock: Clock) -> str | None:
    """Return why everything has to be read; None if the cache can be relied on."""
    if cache.key != key_of(request.root, request.selection):
        return NOTHING
    if not clock.boot or cache.boot != clock.boot:
        return "the machine was started again since the last scan, and its clock may have been set back"
    if clock.ahead_ns < cache.ahead_ns - _STEP_NS or clock.now_ns < cache.full_at_ns:
        return "the clock was set back since the last scan"
    if clock.now_ns - cache.full_at_ns >= request.full_every_s * 10**9:
        return _DUE
    return None


def _scan_full(
    walker: Walker, cached: tuple[Cache, Snapshot] | None, why: str, snapshot: Snapshot, report: Report
) -> None:
    snapshot.extend(walker.read([b""], report))
    snapshot.messages.append(f"every directory was read: {why}")
    if cached is not None and why == _DUE:
        cache, old = cached
        wrong = differing(old, cache.settled, snapshot) if _enter(walker) else []
        if wrong:
            names = ", ".join(repr(os.fsdecode(path) or ".") for path in wrong[:_MOST_NAMED])
            more = f" and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
            snapshot.defect = (
                f"a defect of the strategy: {names}{more} changed without a change of stamps, so that earlier "
                f"incremental scans may be wrong; use another strategy here, and please report it"
            )


def _scan_again(
    walker: Walker, cache: Cache, old: Snapshot, request: ScanRequest, clock: Clock, snapshot: Snapshot, report: Report
) -> Callable[[], None]:
    """Scan what may have changed; return the work for after the clock has stopped."""
    if rescan(walker, old, cache.settled, snapshot, report, stats=request.selection.track == "stat"):
        return partial(_store_cache, request, clock, cache, snapshot)
    report(*cache.counts)
    return partial(snapshot.copy, old)


def _store_cache(request: ScanRequest, clock: Clock, earlier: Cache | None, snapshot: Snapshot) -> None:
    """Store what was found for the next scan, after the clock of the execution has stopped.

    Args:
        request: The tree.
        clock: At the start of the scan.
        earlier: The cache that the scan relied on; None for a full scan.
        snapshot: What was found; receives messages.
    """
    assert request.cache is not None  # noqa: S101  the scan would not have begun
    tree = snapshot.tree()
    if not look_reaches(tree):
        snapshot.messages.append("the tree is read as a whole every time: it has paths longer than the kernel takes")
        with suppress(FileNotFoundError):
            os.unlink(request.cache)  # noqa: PTH108  as light as it gets
        return
    settled, untrusted = settle(tree, request.root, clock.now_ns - SETTLED_AFTER_NS)
    if untrusted:
        snapshot.messages.append(
            f"{untrusted} {'directory is' if untrusted == 1 else 'directories are'} read every time: "
            "the stamps of their file system can't be relied on"
        )
    cache = Cache(
        key=key_of(request.root, request.selection),
        boot=clock.boot,
        ahead_ns=clock.ahead_ns if earlier is None else max(clock.ahead_ns, earlier.ahead_ns),
        full_at_ns=clock.now_ns if earlier is None else earlier.full_at_ns,
        settled=bytes(settled),
        sizes=snapshot.sizes,
        counts=snapshot.counts,
        digest=snapshot.digest,
    )
    try:
        store(request.cache, cache, snapshot)
    except OSError as error:
        name = os.fsdecode(request.cache)
        snapshot.messages.append(
            f"the next scan has to read everything again: {name!r} can't be written: {reason_of(error)}"
        )
