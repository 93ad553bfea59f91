"""``python -m tests.benchmarks.intervals``: how often the 95 % intervals cover the truth.

Ratios compare two samples of n runs, slopes follow n days; both on independent noise of 8 %, log-normal and skewed. The
standard error of a share from 4,000 simulations is 0.3 points.
"""

import argparse
import math
import sys

import numpy as np
from numpy.random import Generator

from runner.trends.compare import Interval, ratio_interval
from runner.trends.drift import daily_slope
from runner.trends.steps import find_steps
from tests.benchmarks.progress import followed
from tests.benchmarks.timers import TIMERS

SIZES = (6, 7, 8, 9, 10, 12, 15, 20, 30, 50, 100, 200)
NOISES = ("independent", "skewed")
RATIO = 0.7
SLOPE = 0.002
STEP = 1.22


def main() -> None:
    """Measure and print the tables, row by row."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.intervals", description=__doc__)
    parser.add_argument("--simulations", type=int, default=4000, help="how many for each number")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    columns = [f"{kind}, {noise}" for kind in ("ratio", "slope") for noise in NOISES]
    sys.stdout.write(f"| n | {' | '.join(columns)} |\n|--:|{'--:|' * len(columns)}\n")
    for n in SIZES:
        generator = np.random.default_rng([given.seed, n])
        shares = []
        for kind in (covers_ratio, covers_slope):
            for noise in NOISES:
                rounds = followed(range(given.simulations), f"{kind.__name__}, {noise}, {n}", given.simulations)
                shares.append(sum(kind(generator, noise, n) for _ in rounds) / given.simulations)
        sys.stdout.write(f"| {n} | {' | '.join(f'{share:.1%}' for share in shares)} |\n")
        sys.stdout.flush()
    sys.stdout.write("\n| noise | ratio of a step found in 200 runs |\n|---|--:|\n")
    for noise in TIMERS:
        covered = step_coverage(np.random.default_rng(given.seed), noise, max(1, given.simulations // 10))
        sys.stdout.write(f"| {noise} | {covered:.1%} |\n")
        sys.stdout.flush()


def covers_ratio(generator: Generator, noise: str, n: int) -> bool:
    """Compare two samples and tell whether the interval holds the true ratio."""
    baseline, other = (np.exp(TIMERS[noise](generator, n)) for _ in range(2))
    return _covers(ratio_interval(baseline.tolist(), (RATIO * other).tolist()), RATIO)


def covers_slope(generator: Generator, noise: str, n: int) -> bool:
    """Follow a drift and tell whether the interval holds the true slope."""
    days = np.arange(n)
    return _covers(daily_slope(days.tolist(), (TIMERS[noise](generator, n) + SLOPE * days).tolist()), math.expm1(SLOPE))


def step_coverage(generator: Generator, noise: str, count: int) -> float:
    """Return the share of steps found whose interval holds their true ratio."""
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
