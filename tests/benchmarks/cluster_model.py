"""A simulated cluster, which runs the splitting of the strategy dask by a virtual clock on a virtual tree."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from runner.strategies.dask.splitting import Slice, Splitting

# Files in each directory of the virtual tree, subdirectories of each, and the part of a subtree in the first of them.
FILES, _FAN_OUT, _LOPSIDED = 100, 10, 0.7


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """What the simulation assumes.

    Attributes:
        files_per_s: Files that a worker reads in a second.
        scheduler_s: Time of the scheduler for a task, in which it does nothing else.
        driver_s: Time of the driver for an answer, likewise.
        latency_s: Time of a message on the network, one way.
    """

    files_per_s: float
    scheduler_s: float
    driver_s: float
    latency_s: float = 0.0005


@dataclass(slots=True)
class Result:
    """How a simulated scan went."""

    wall_s: float = 0.0
    slices: int = 0
    directories: int = 0
    problems: int = 0


def below(directories: int) -> list[int]:
    """Return the sizes of the subtrees of a directory that stands for a subtree of this size, itself included."""
    left = directories - 1
    first = int(left * _LOPSIDED)
    sizes = [first] + [(left - first) // (_FAN_OUT - 1)] * (_FAN_OUT - 1)
    sizes[-1] += left - sum(sizes)
    return [size for size in sizes if size]


class VirtualTree:
    """A tree whose paths contain only the size of what lies below, so that reading much takes no time.

    Args:
        directories: Number of directories.
        costs: Time to read them.
    """

    def __init__(self, directories: int, costs: Costs) -> None:
        self._directories = directories
        self._each_s = FILES / costs.files_per_s

    def read(self, slice_: Slice) -> tuple[float, int, list[bytes]]:
        """Return for a slice the time that it takes, the directories read, and what is left over."""
        pending, read = list(slice_.paths), 0
        budget = max(1, int(slice_.length_s / self._each_s)) if slice_.descend else len(pending)
        left: list[bytes] = []
        while pending and read < budget:
            path = pending.pop()
            above, _, size = path.rpartition(b"/")
            directories = int(size or self._directories)
            if slice_.descend and directories <= budget - read:
                read += directories
            else:
                read += 1
                children = [b"%b//%d" % (above, one) for one in below(directories)]
                (pending if slice_.descend else left).extend(children)
        return read * self._each_s, read, pending + left


def simulate(
    directories: int,
    workers: int,
    costs: Costs,
    *,
    fate: Callable[[str, Slice], str] = lambda _worker, _slice: "",
) -> Result:
    """Simulate a scan.

    Args:
        directories: Size of the tree.
        workers: Number of workers.
        costs: What the simulation assumes.
        fate: Returns what becomes of a slice on a worker: nothing special, ``stopped`` if the worker never answers, or
            ``killed`` if the scheduler gives the task up.
    """
    splitting, tree, result = Splitting(), VirtualTree(directories, costs), Result()
    splitting.set_workers(f"worker {number}" for number in range(workers))
    # What arrives, and when: a task or a result at the scheduler, or an answer at the driver.
    events: list[tuple[float, int, str, str, Slice]] = []
    number = count()
    now_s = scheduler_s = driver_s = 0.0

    def arrive(at_s: float, what: str, worker: str, slice_: Slice) -> None:
        heapq.heappush(events, (at_s, next(number), what, worker, slice_))

    while not splitting.is_done():
        for worker, slice_ in splitting.issue(now_s):
            result.slices += 1
            arrive(max(now_s, driver_s) + costs.latency_s, "task", worker, slice_)
        overdue_s = now_s + splitting.next_s(now_s)
        if not events or overdue_s < events[0][0]:
            now_s = overdue_s
            continue
        now_s, _, what, worker, slice_ = heapq.heappop(events)
        if what == "answer":
            driver_s = max(driver_s, now_s) + costs.driver_s
            splitting.release(worker)
            if fate(worker, slice_) == "killed":
                result.problems += splitting.bisect(slice_) is not None
                continue
            _, read, left = tree.read(slice_)
            if splitting.finish(slice_, left, now_s):
                result.directories += read
            continue
        scheduler_s = max(scheduler_s, now_s) + costs.scheduler_s / 2
        end = fate(worker, slice_)
        if what == "result" or end == "killed":
            arrive(scheduler_s + costs.latency_s, "answer", worker, slice_)
        elif end != "stopped":
            arrive(scheduler_s + 2 * costs.latency_s + tree.read(slice_)[0], "result", worker, slice_)
    result.wall_s = max(now_s, driver_s)
    return result
