"""``python -m tests.benchmarks.steps``: false alarms and detections beside asv's detector and ruptures' PELT.

All see the same seeded series of 200 runs. A false alarm is any step reported in a series without one. A step of +22 %
begins anywhere but in the first 30 and the last 10 runs; it is found when one is reported at most 5 runs from its
beginning: in the whole series, or (in time) already in a series that ends with one of the first 5 runs after it.

asv's regressions are its steps upwards of more than 5 % that have not been made good, which is what it publishes. PELT
with the cost l2, in ruptures' own C version (a linear kernel), is given the logarithms and the usual penalty,
2 s² log n, s being estimated from successive differences.
"""

import argparse
import math
import sys
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from runner.trends.steps import find_steps
from tests.benchmarks.progress import followed
from tests.benchmarks.timers import TIMERS, Series

try:
    import ruptures
    from asv.step_detect import detect_regressions, detect_steps
except ImportError as error:
    raise SystemExit(f"{error.name} is missing: pip install 'runner[benchmarks]'") from error

RUNS = 200
STEP = math.log(1.22)
NEAR = 5

Detector = Callable[[Series], list[int]]


def main() -> None:
    """Measure and print the tables, row by row."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.steps", description=__doc__)
    parser.add_argument("--series", type=int, default=500, help="how many of each kind")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    head = f"{' | '.join(DETECTORS)} |\n|---|{'--:|' * len(DETECTORS)}\n"
    sys.stdout.write(f"| false alarms | {head}")
    for name in TIMERS:
        write_row(name, alarms(name, given.series, given.seed))
    sys.stdout.write(f"\n| +22 % found | {head}")
    for name in TIMERS:
        whole, in_time = detections(name, given.series, given.seed)
        write_row(f"{name}, whole", whole)
        write_row(f"{name}, in time", in_time)


def runner(values: Series) -> list[int]:
    """Find steps as runner does."""
    return [step.index for step in find_steps(values.tolist())]


def asv_steps(values: Series) -> list[int]:
    """Find steps as asv does, in seconds."""
    return [left for left, *_ in _asv(tuple(values))[1:]]


def asv_regressions(values: Series) -> list[int]:
    """Find what asv publishes."""
    _, _, regressions = detect_regressions(_asv(tuple(values)), threshold=0.05)
    return [first_after for _, first_after, *_ in regressions or []]


@lru_cache(maxsize=8)
def _asv(values: tuple[float, ...]) -> list[tuple[int, int, float, float, float]]:
    found: list[tuple[int, int, float, float, float]] = detect_steps(np.exp(values).tolist())
    return found


def pelt(values: Series) -> list[int]:
    """Find steps as ruptures does, with the shortest level its Pelt has by default."""
    differences = np.abs(np.diff(values))
    variance = float(np.median(differences)) ** 2 / NormalDist().inv_cdf(0.75) ** 2 / 2
    search = ruptures.KernelCPD(kernel="linear", min_size=2).fit(values)
    found: list[int] = search.predict(pen=2 * variance * math.log(len(values)))
    return found[:-1]


DETECTORS: dict[str, Detector] = {
    "runner": runner,
    "asv steps": asv_steps,
    "asv regressions": asv_regressions,
    "PELT": pelt,
}


def alarms(timer: str, count: int, seed: int) -> list[float]:
    """Give for each detector the share of series without a step in which it reports one."""
    generator = np.random.default_rng(seed)
    found = dict.fromkeys(DETECTORS, 0)
    for _ in followed(range(count), f"false alarms, {timer}", count):
        values = TIMERS[timer](generator, RUNS)
        for name, detector in DETECTORS.items():
            found[name] += bool(detector(values))
    return [hits / count for hits in found.values()]


def detections(timer: str, count: int, seed: int) -> tuple[list[float], list[float]]:
    """Give for each detector the share of series with a step in which it finds it at all, and in time."""
    generator = np.random.default_rng(seed + 1)
    whole, in_time = dict.fromkeys(DETECTORS, 0), dict.fromkeys(DETECTORS, 0)
    for _ in followed(range(count), f"detections, {timer}", count):
        start = int(generator.integers(30, RUNS - 10, endpoint=True))
        values = TIMERS[timer](generator, RUNS)
        values[start:] += STEP
        for name, detector in DETECTORS.items():
            whole[name] += found_near(detector, values, start)
            in_time[name] += found_in_time(detector, values, start)
    return [hits / count for hits in whole.values()], [hits / count for hits in in_time.values()]


def found_near(detector: Detector, values: Series, start: int) -> bool:
    """Tell whether a step is reported within 5 runs of its place."""
    return any(abs(index - start) <= NEAR for index in detector(values))


def found_in_time(detector: Detector, values: Series, start: int) -> bool:
    """Tell whether the step is found before more than 5 runs have felt it; the longest series first: it tells most."""
    return any(found_near(detector, values[: start + felt], start) for felt in range(NEAR, 0, -1))


def write_row(name: str, shares: list[float]) -> None:
    """Write one row as soon as it is known."""
    sys.stdout.write(f"| {name} | {' | '.join(f'{share:.1%}' for share in shares)} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
