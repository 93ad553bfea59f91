"""``python -m tests.benchmarks.steps``: false alarms and detections beside asv's detector and ruptures' PELT.

All see the same seeded series of 200 runs. A false alarm is any step reported in a series without one. A step of +22 %
begins anywhere but in the first 30 and the last 10 runs; it is found when one is reported at most 5 runs from its
beginning: in the whole series, or (in time) already in a series that ends with one of the first 5 runs after it.

Beside them: noise whose standard deviation becomes five times as large half-way, where every step is a false alarm;
four changes of 15 to 30 % up or down in 300 runs of 4 % noise, at least 20 runs apart, and the share of them that is
found; and 720 hourly runs that take 20 % longer at the end of 30 days than at their start, on AR(1) noise of 0.6, where
runner has to report a rise of more than 10 %, and the others anything. The last table is the time each takes.

asv's regressions are its steps upwards of more than 5 % that have not been made good, which is what it publishes.
Otava is asked as by `otava analyze` with its defaults. PELT with the cost l2, in ruptures' own C version (a linear
kernel), is given the logarithms and the usual penalty, 2 s² log n, s being estimated from successive differences.
"""

import argparse
import gc
import math
import sys
import time
from collections.abc import Callable
from functools import lru_cache, partial
from statistics import NormalDist, median

import numpy as np

from runner.trends.piecewise import PiecewiseTrend
from runner.trends.steps import find_steps
from tests.benchmarks.progress import followed
from tests.benchmarks.timers import TIMERS, Series

try:
    import ruptures
    from asv.step_detect import detect_regressions, detect_steps
except ImportError as error:
    raise SystemExit(f"{error.name} is missing: pip install 'runner[benchmarks]'") from error

try:
    from otava.analysis import compute_change_points
except ImportError:  # its own requirements are older than those of the tests
    sys.stderr.write("Otava is left out: pip install 'runner[otava]' in an environment of its own\n")
    compute_change_points = None

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
    for name in QUIET:
        write_row(name, alarms(name, given.series, given.seed))
    sys.stdout.write(f"\n| +22 % found | {head}")
    for name in TIMERS:
        whole, in_time = detections(name, given.series, given.seed)
        write_row(f"{name}, whole", whole)
        write_row(f"{name}, in time", in_time)
    write_row("four changes", four_changes(given.series, given.seed))
    write_row("+20 % in 30 days", gradual(given.series, given.seed))
    sys.stdout.write(f"\n| median and longest time, ms | {head}")
    for name, (middle, longest) in times(min(given.series, 50), given.seed).items():
        sys.stdout.write(f"| {name} | {' | '.join(map('{:.0f}, {:.0f}'.format, middle, longest))} |\n")


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


def otava(values: Series) -> list[int]:
    """Find changes as Apache Otava does, in seconds."""
    found, _ = compute_change_points(np.exp(values).tolist(), window_len=50, max_pvalue=0.001, min_magnitude=0.0)
    return [change.index for change in found]


DETECTORS: dict[str, Detector] = {
    "runner": runner,
    "asv steps": asv_steps,
    "asv regressions": asv_regressions,
    "PELT": pelt,
    **({"Otava": otava} if compute_change_points else {}),
}


def louder(generator: np.random.Generator, n: int) -> Series:
    """Create noise whose standard deviation grows from 4 % to 20 % half-way."""
    return generator.normal(0, 0.04, n) * np.where(np.arange(n) < n // 2, 1, 5)


QUIET = {**TIMERS, "noise five times as loud half-way": louder}


def alarms(timer: str, count: int, seed: int) -> list[float]:
    """Compute for each detector the share of series without a step in which it reports one."""
    generator = np.random.default_rng(seed)
    found = dict.fromkeys(DETECTORS, 0)
    for _ in followed(range(count), f"false alarms, {timer}", count):
        values = QUIET[timer](generator, RUNS)
        for name, detector in DETECTORS.items():
            found[name] += bool(detector(values))
    return [hits / count for hits in found.values()]


def detections(timer: str, count: int, seed: int) -> tuple[list[float], list[float]]:
    """Compute for each detector the share of series with a step in which it finds it at all, and in time."""
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


def four_changes(count: int, seed: int) -> list[float]:
    """Compute for each detector the share of changes that it finds where a series of 300 runs has four."""
    generator = np.random.default_rng(seed + 2)
    found = dict.fromkeys(DETECTORS, 0)
    for _ in followed(range(count), "four changes", count):
        values, places = with_four_changes(generator)
        for name, detector in DETECTORS.items():
            steps = detector(values)
            found[name] += sum(any(abs(step - place) <= NEAR for step in steps) for place in places)
    return [hits / 4 / count for hits in found.values()]


def with_four_changes(generator: np.random.Generator) -> tuple[Series, list[int]]:
    """Create 300 runs with four changes, and return their places."""
    values: Series = generator.normal(0, 0.04, 300)
    while True:
        places = sorted(generator.integers(20, 280, 4).tolist())
        if min(np.diff(places)) >= 20:
            break
    for place in places:
        values[place:] += math.log1p(generator.uniform(0.15, 0.3)) * generator.choice([-1, 1])
    return values, places


def gradual(count: int, seed: int) -> list[float]:
    """Compute for each detector the share of slow rises of 20 % in which it finds anything; for runner, over 10 %."""
    generator = np.random.default_rng(seed + 3)
    found = dict.fromkeys(DETECTORS, 0)
    for _ in followed(range(count), "+20 % in 30 days", count):
        values = TIMERS["AR(1) 0.6"](generator, 720) + math.log(1.2) * np.arange(720) / 720
        for name, detector in DETECTORS.items():
            if name == "runner":
                rise = PiecewiseTrend(values.tolist()).rise()
                found[name] += rise is not None and rise.ratio.estimate > 1.1
            else:
                found[name] += bool(detector(values))
    return [hits / count for hits in found.values()]


def times(count: int, seed: int) -> dict[str, tuple[list[float], list[float]]]:
    """Measure the median and the longest time that each detector takes for one series, milliseconds of CPU time."""
    generator = np.random.default_rng(seed + 4)
    kinds: dict[str, Callable[[], Series]] = {
        f"{name}, {n} runs": partial(QUIET[name], generator, n)
        for name in ("independent", "AR(1) 0.6", "cycle of 24 runs", "noise five times as loud half-way")
        for n in (200, 300)
    }
    kinds["four changes, 300 runs"] = lambda: with_four_changes(generator)[0]
    table = {}
    # Otherwise the detector that allocates next pays 40 ms for a garbage collection of what all of them have imported.
    gc.collect()
    gc.freeze()
    for name, make in kinds.items():
        spent: dict[str, list[float]] = {detector: [] for detector in DETECTORS}
        for _ in followed(range(count), f"times, {name}", count):
            values = make()
            for detector, find in DETECTORS.items():
                began = time.process_time()
                find(values)
                spent[detector].append(1e3 * (time.process_time() - began))
        table[name] = ([median(one) for one in spent.values()], [max(one) for one in spent.values()])
    return table


def found_near(detector: Detector, values: Series, start: int) -> bool:
    """Return whether a step is reported within 5 runs of its place."""
    return any(abs(index - start) <= NEAR for index in detector(values))


def found_in_time(detector: Detector, values: Series, start: int) -> bool:
    """Return whether the step is found within its first 5 runs."""
    return any(found_near(detector, values[: start + felt], start) for felt in range(NEAR, 0, -1))


def write_row(name: str, shares: list[float]) -> None:
    """Write one row as soon as it is known."""
    sys.stdout.write(f"| {name} | {' | '.join(f'{share:.1%}' for share in shares)} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
