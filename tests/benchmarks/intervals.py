"""How often the 95 % intervals cover the truth, for 6 to 200 runs.

Ratios compare two samples of n runs, slopes follow n days; both on independent noise of 8 %, log-normal and skewed. The
standard error of a share from 4,000 simulations is 0.3 points.
"""

import math
import sys

import numpy as np
from numpy.random import Generator

from runner.trends.compare import Interval, ratio_interval
from runner.trends.drift import daily_slope
from runner.trends.steps import find_steps
from tests.benchmarks.progress import followed, make_parser, write_head, write_row
from tests.benchmarks.timers import TIMERS

SIZES = (6, 7, 8, 9, 10, 12, 15, 20, 30, 50, 100, 200)
NOISES = ("independent", "skewed")
RATIO = 0.7
SLOPE = 0.002
STEP = 1.22


def main() -> None:
    """Measure and print the tables, row by row."""
    given = make_parser(__doc__, simulations=4000, seed=1).parse_args()
    kinds = {"ratio": covers_ratio, "slope": covers_slope}
    columns = [(kind, noise) for kind in kinds for noise in NOISES]
    write_head("n", *(", ".join(column) for column in columns), first="--:")
    for n in SIZES:
        generator = np.random.default_rng([given.seed, n])
        shares = []
        for kind, noise in columns:
            rounds = followed(range(given.simulations), f"{kind}, {noise}, {n}", given.simulations)
            shares.append(sum(kinds[kind](generator, noise, n) for _ in rounds) / given.simulations)
        write_row(n, *(f"{share:.1%}" for share in shares))
    sys.stdout.write("\n")
    write_head("noise", "ratio of a step found in 200 runs")
    for noise in TIMERS:
        covered = step_coverage(np.random.default_rng(given.seed), noise, max(1, given.simulations // 10))
        write_row(noise, f"{covered:.1%}")


def covers_ratio(generator: Generator, noise: str, n: int) -> bool:
    """Compare two samples; return whether the interval holds the true ratio."""
    baseline, other = (np.exp(TIMERS[noise](generator, n)) for _ in range(2))
    return _covers(ratio_interval(baseline.tolist(), (RATIO * other).tolist()), RATIO)


def covers_slope(generator: Generator, noise: str, n: int) -> bool:
    """Follow a drift; return whether the interval holds the true slope."""
    days = np.arange(n)
    return _covers(daily_slope(days.tolist(), (TIMERS[noise](generator, n) + SLOPE * days).tolist()), math.expm1(SLOPE))


def step_coverage(generator: Generator, noise: str, count: int) -> float:
    """Compute the share of steps found whose interval holds their true ratio."""
    found = []
    for _ in followed(range(count), f"steps, {noise}", count):
        start = int(generator.integers(30, 190, endpoint=True))
        values = TIMERS[noise](generator, 200)
        values[start:] += math.log(STEP)
        found += [_covers(step.ratio, STEP) for step in find_steps(values.tolist()) if abs(step.index - start) <= 5]
    return sum(found) / max(1, len(found))


def _covers(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


if __name__ == "__main__":
    main()
