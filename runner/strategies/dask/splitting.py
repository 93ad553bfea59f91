"""Splitting of a tree into slices, without the engine: who reads what, for how long, and what is issued again.

A slice is a list of directories that a worker reads, with what lies below, for a limited time; it returns the
directories that are left over. A task for each directory would take more of a scheduler than of the workers: about a
millisecond each.
"""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The shortest slice, for hungry workers, and the longest one, after which progress and lost work are bounded.
MIN_S, MAX_S = 0.010, 5.0
# Part of the time so far that a slice may take: so much is lost at most if it turns out to be the last one.
_OF_ELAPSED = 1 / 8
# Time of a scheduler for each slice in flight; it takes about half of that.
_SCHEDULING_S = 0.002
# A slice is issued again after this many times its length, and not before this time.
_AGAIN_AFTER, _MIN_AGAIN_S = 10, 1.0
# Size of the paths of one slice, and the longest path that is worth being passed to another worker; in bytes.
_MOST_BYTES, _LONGEST = 1 << 20, 4096


class Slice:
    """Directories that are read by one worker at a time.

    Attributes:
        paths: Their paths relative to the root.
        length_s: How long to read.
        descend: Whether to read what lies below; if not, all subdirectories are left over.
        again_at: When it is issued again.
    """

    __slots__ = ("again_at", "descend", "length_s", "paths")

    def __init__(self, paths: list[bytes], length_s: float, *, descend: bool = True) -> None:
        self.paths = paths
        self.length_s = length_s
        self.descend = descend
        self.again_at = math.inf

    def can_split(self) -> bool:
        """Return whether other workers can read a part; deep directories are cheaper to read than to pass on."""
        return len(self.paths) > 1 and len(self.paths[0]) <= _LONGEST


class Splitting:
    """The state of a scan: what is ready to be read, and what is in flight on which worker.

    Instants are seconds since the begin of the scan.
    """

    def __init__(self) -> None:
        self._ready = [Slice([b""], MIN_S)]
        self._flying: dict[Slice, None] = {}
        self._workers: dict[str, Slice | None] = {}

    def set_workers(self, names: Iterable[str]) -> None:
        """Set the workers that exist; new ones are idle."""
        self._workers = {name: self._workers.get(name) for name in names}

    def is_done(self) -> bool:
        """Return whether everything was read."""
        return not self._ready and not self._flying

    def issue(self, now_s: float) -> Iterator[tuple[str, Slice]]:
        """Yield a slice for each idle worker, first what is ready, then what is overdue elsewhere."""
        idle = [name for name, slice_ in self._workers.items() if slice_ is None]
        overdue = [slice_ for slice_ in self._flying if slice_.again_at <= now_s]
        for name in idle:
            if not self._ready and not overdue:
                return
            slice_ = self._ready.pop() if self._ready else overdue.pop()
            # Each time later, since the directory itself may take long.
            wait_s = max(_MIN_AGAIN_S, _AGAIN_AFTER * slice_.length_s)
            slice_.again_at = now_s + (2 * wait_s if slice_ in self._flying else wait_s)
            self._flying[slice_] = None
            self._workers[name] = slice_
            yield name, slice_

    def next_s(self, now_s: float) -> float:
        """Return how long to wait until a slice is overdue for which a worker is idle."""
        if None not in self._workers.values():
            return math.inf
        return max(0.0, min((slice_.again_at for slice_ in self._flying), default=math.inf) - now_s)

    def release(self, worker: str) -> None:
        """Mark a worker as idle."""
        if worker in self._workers:
            self._workers[worker] = None

    def finish(self, slice_: Slice, left: list[bytes], now_s: float) -> bool:
        """Accept the answer for a slice; return False if another worker has answered before."""
        if slice_ not in self._flying:
            return False
        del self._flying[slice_]
        size, begin = 0, 0
        for end, path in enumerate(left, 1):
            size += len(path)
            if size >= _MOST_BYTES or end == len(left):
                self._add(left[begin:end], slice_.length_s, now_s)
                size, begin = 0, end
        return True

    def _add(self, paths: list[bytes], last_s: float, now_s: float) -> None:
        """Add left-over directories, in halves while there are fewer slices than workers."""
        slices = len(self._flying) + len(self._ready)
        pace_s = max(MIN_S, _SCHEDULING_S * slices)
        slice_ = Slice(paths, pace_s)
        if slices + 1 >= len(self._workers):
            slice_.length_s = min(MAX_S, max(pace_s, now_s * _OF_ELAPSED))
        elif slice_.can_split():
            self._halve(slice_)
            return
        else:
            slice_.length_s = min(MAX_S, max(pace_s, 2 * last_s))
        self._ready.append(slice_)

    def _halve(self, slice_: Slice) -> None:
        # Every other one: the first are the highest and contain most.
        for paths in (slice_.paths[1::2], slice_.paths[::2]):
            self._ready.append(Slice(paths, slice_.length_s))

    def bisect(self, slice_: Slice) -> bytes | None:
        """Halve a slice that ends its workers; return the directory if it is known, which is then left out."""
        if slice_ not in self._flying:
            return None
        del self._flying[slice_]
        if len(slice_.paths) > 1:
            self._halve(slice_)
        elif slice_.descend:
            self._ready.append(Slice(slice_.paths, slice_.length_s, descend=False))
        else:
            return slice_.paths[0]
        return None
