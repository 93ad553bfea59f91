"""How wall time depends on the number of workers and on the size of the tree: pure functions on numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import median

from runner.model.errors import RunnerError
from runner.model.units import format_count
from runner.trends.compare import Interval, ratio_interval

# With fewer sizes, or sizes closer together, a crossing would be read out of noise.
FEWEST_SIZES = 3
LEAST_SPAN = 10
_RESAMPLES = 2_000


class NoBreakEven(RunnerError):
    """No size is known above which the pool pays off."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rung:
    """One size at which both ways were measured, a figure for each round.

    Attributes:
        entries: Files and directories in the tree.
        sequential_s: Wall times in seconds; shape (n,), n >= 1, in the order of rounds.
        pool_s: The same for the pool, of the same rounds.
    """

    entries: int
    sequential_s: Sequence[float]
    pool_s: Sequence[float]


def speed_up(sequential_s: Sequence[float], other_s: Sequence[float]) -> Interval:
    """Estimate how many times as fast the other is, with its 95 % interval.

    Args:
        sequential_s: Wall times in seconds, all above zero; shape (m,).
        other_s: The same for the way compared; shape (n,).

    Raises:
        NotEnoughRuns: If there are too few for an interval.
    """
    return ratio_interval(other_s, sequential_s)


def serial_fraction(speed_up: float, workers: int) -> float | None:
    """Estimate the serial fraction of the work from a measured speed-up.

    Args:
        speed_up: Times as fast as sequential, dimensionless.
        workers: How many shared the work.

    Returns:
        The fraction, dimensionless; None for one worker, and below a speed-up of 1, where it means nothing.

    Source:
        Karp & Flatt, Measuring Parallel Processor Performance (1990).
    """
    if workers < 2 or speed_up < 1:
        return None
    return (1 / speed_up - 1 / workers) / (1 - 1 / workers)


def break_even(rungs: Sequence[Rung], seed: int = 0) -> Interval:
    """Estimate the size from which on the pool is faster than sequential.

    Between two sizes each way costs a fixed part and a part for each entry, so that their difference is a straight
    line; the size is where the line through the medians of the differences crosses zero for the last time. The
    interval comes from doing the same with rounds drawn at random, with replacement.

    Args:
        rungs: At least three sizes, the largest at least ten times the smallest, in any order.
        seed: Of the draws.

    Returns:
        The size with its 95 % interval, in entries; a bound is 0 or infinite where it lies outside what was measured.

    Raises:
        NoBreakEven: If the sizes span too little, or the pool is faster or slower at all of them.

    Source:
        Efron, Bootstrap Methods: Another Look at the Jackknife (1979), the percentile method.
    """
    rungs = sorted(rungs, key=lambda rung: rung.entries)
    sizes = [rung.entries for rung in rungs]
    if len(rungs) < FEWEST_SIZES or sizes[-1] < LEAST_SPAN * sizes[0]:
        raise NoBreakEven(
            f"the subtrees span too little for a break-even size: {len(rungs)} of them"
            + (f", from {sizes[0]:,} to {format_count(sizes[-1], 'entry', 'entries')}" if rungs else "")
            + f"; it takes {FEWEST_SIZES}, the largest {LEAST_SPAN} times the smallest, so calibrate a larger tree"
        )
    differences = [[pool - alone for alone, pool in zip(rung.sequential_s, rung.pool_s, strict=True)] for rung in rungs]
    estimate = _crossing(sizes, list(map(median, differences)))
    if estimate == 0:
        raise NoBreakEven(f"the pool was faster at every size, from {format_count(sizes[0], 'entry', 'entries')} up")
    if math.isinf(estimate):
        raise NoBreakEven(f"the pool was no faster at any size, up to {format_count(sizes[-1], 'entry', 'entries')}")
    random = Random(seed)  # noqa: S311  chance, not secrets
    drawn = sorted(
        _crossing(sizes, [median(random.choices(each, k=len(each))) for each in differences]) for _ in range(_RESAMPLES)
    )
    tail = _RESAMPLES * 25 // 1_000
    low, high = drawn[tail], drawn[-1 - tail]
    return Interval(estimate=estimate, low=min(low, estimate), high=max(high, estimate))


def _crossing(sizes: Sequence[int], differences: Sequence[float]) -> float:
    """Return the size at which a line through points falls below zero for good; 0 if it never lies above, else inf."""
    if differences[-1] >= 0:
        return math.inf
    for number in reversed(range(len(sizes) - 1)):
        above, below = differences[number], differences[number + 1]
        if above >= 0:
            return sizes[number] + (sizes[number + 1] - sizes[number]) * above / (above - below)
    return 0.0
