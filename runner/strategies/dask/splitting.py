"""Splitting of a tree into slices, without the engine: who reads what, for how long, and what is issued again.

A slice is a list of directories that a worker reads, with what lies below, for a limited time; it returns the
directories that are left over. A task for each directory would take more of a scheduler than of the workers: about a
millisecond each.
"""

from __future__ import annotations

import math
from collections import deque
from heapq import heappop, heappush

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The shortest slice, for hungry workers, and the longest one, by which progress and lost work are bounded.
MIN_S, MAX_S = 0.010, 5.0
# The shortest slice while nobody is hungry, since each takes about 8 ms of CPU time, and the part of the time since
# workers were last hungry that it may take.
_FED_S, _OF_FED = 0.040, 1 / 2
# Time of a slice for each one in flight, twice what a scheduler and a driver need for it.
_SCHEDULING_S = 0.002
# A slice is issued again after this many times its length, and not before this time.
_AGAIN_AFTER, _MIN_AGAIN_S = 10, 1.0
# Number of slices for each worker below which what is left is split, since some are small, and their workers soon idle;
# before this time it is one, since more slices would take more than small trees.
_IN_STOCK, _STOCK_AFTER_S = 2, 1.0
# Number of slices into which what is left of one is split, for so many hungry workers.
_MOST_PARTS = 16
# Size of the paths of one slice, and the longest path that is worth being passed to another worker; in bytes.
_MOST_BYTES, _LONGEST = 1 << 20, 4096


class Slice:
    """Directories that are read by one worker at a time.

    Attributes:
        paths: Their paths relative to the root.
        length_s: How long to read.
        descend: Whether to read what lies below; if not, all subdirectories are left over.
        issued: How often it was issued.
    """

    __slots__ = ("descend", "issued", "length_s", "paths")

    def __init__(self, paths: list[bytes], length_s: float, *, descend: bool = True) -> None:
        self.paths = paths
        self.length_s = length_s
        self.descend = descend
        self.issued = 0

    def can_split(self) -> bool:
        """Return whether other workers can read a part; deep directories are cheaper to read than to pass on."""
        return len(self.paths) > 1 and len(self.paths[0]) <= _LONGEST


def _depth(path: bytes) -> int:
    return path.count(b"/")


class Splitting:
    """The state of a scan: what is ready to be read, and what is in flight on which worker.

    Instants are seconds since the begin of the scan.
    """

    def __init__(self) -> None:
        self._ready = deque([Slice([b""], MIN_S)])
        self._flying: set[Slice] = set()
        self._due: list[tuple[float, int, Slice]] = []
        self._count = 0
        self._workers: frozenset[str] = frozenset()
        self._busy: set[str] = set()
        self._idle: list[str] = []
        self._hungry_s = 0.0

    def set_workers(self, names: Iterable[str]) -> None:
        """Set the workers that exist; new ones are idle."""
        self._workers = frozenset(names)
        self._busy &= self._workers
        self._idle = sorted(self._workers - self._busy)

    def release(self, worker: str) -> None:
        """Mark a worker as idle."""
        if worker in self._busy:
            self._busy.discard(worker)
            self._idle.append(worker)

    def is_done(self) -> bool:
        """Return whether everything was read."""
        return not self._ready and not self._flying

    def issue(self, now_s: float) -> Iterator[tuple[str, Slice]]:
        """Yield a slice for each idle worker, first what is ready, then what is overdue elsewhere."""
        while self._idle:
            if not self._ready:
                self._hungry_s = now_s
            slice_ = self._ready.popleft() if self._ready else self._pop_overdue(now_s)
            if slice_ is None:
                return
            slice_.issued += 1
            self._count += 1
            # Each time later, since a directory itself may take long.
            wait_s = slice_.issued * max(_MIN_AGAIN_S, _AGAIN_AFTER * slice_.length_s)
            heappush(self._due, (now_s + wait_s, self._count, slice_))
            self._flying.add(slice_)
            worker = self._idle.pop()
            self._busy.add(worker)
            yield worker, slice_

    def _pop_overdue(self, now_s: float) -> Slice | None:
        return heappop(self._due)[2] if self.next_s(now_s) <= 0 else None

    def next_s(self, now_s: float) -> float:
        """Return how long to wait until a slice is overdue for which a worker is idle."""
        while self._due and self._due[0][2] not in self._flying:
            heappop(self._due)
        return self._due[0][0] - now_s if self._due and self._idle else math.inf

    def finish(self, slice_: Slice, left: list[bytes], now_s: float) -> bool:
        """Accept the answer for a slice; return False if another worker has answered before."""
        if slice_ not in self._flying:
            return False
        self._flying.remove(slice_)
        size, begin = 0, 0
        for end, path in enumerate(left, 1):
            size += len(path)
            if size >= _MOST_BYTES or end == len(left):
                self._add(left[begin:end], slice_.length_s, now_s)
                size, begin = 0, end
        return True

    def _add(self, paths: list[bytes], last_s: float, now_s: float) -> None:
        """Add left-over directories, split while there are fewer slices than workers."""
        others = len(self._flying) + len(self._ready)
        pace_s = max(MIN_S, _SCHEDULING_S * len(self._flying))
        slice_ = Slice(paths, min(MAX_S, pace_s))
        wanted = (_IN_STOCK if now_s >= _STOCK_AFTER_S else 1) * len(self._workers) - others
        if wanted <= 1:
            slice_.length_s = min(MAX_S, max(pace_s, _FED_S, (now_s - self._hungry_s) * _OF_FED))
        elif slice_.can_split():
            self._split(slice_, min(_MOST_PARTS, wanted))
            return
        else:
            slice_.length_s = min(MAX_S, max(pace_s, 2 * last_s))
        self._ready.append(slice_)

    def _split(self, slice_: Slice, parts: int = 2) -> None:
        # The last are read first: the highest, which contain most, so that there is soon more to share.
        paths = sorted(slice_.paths, key=_depth, reverse=True)
        for first in range(min(parts, len(paths))):
            self._ready.append(Slice(paths[first::parts], slice_.length_s))

    def bisect(self, slice_: Slice) -> bytes | None:
        """Split a slice that ends its workers; return the directory if it is known, which is then left out."""
        if slice_ not in self._flying:
            return None
        self._flying.remove(slice_)
        if len(slice_.paths) > 1:
            self._split(slice_)
        elif slice_.descend:
            self._ready.append(Slice(slice_.paths, slice_.length_s, descend=False))
        else:
            return slice_.paths[0]
        return None
