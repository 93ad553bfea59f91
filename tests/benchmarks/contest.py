"""An interleaved contest: every contestant once in each round, in random order, so that drift meets all alike."""

import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from runner.measure.environment import DEFAULT_START_METHOD
from runner.measure.trial import ScanTask
from runner.measure.trials import carry_out
from runner.model.jobs import Selection
from runner.strategies.base import ScanRequest


@dataclass(slots=True)
class Times:
    """What one contestant needed, a figure for each round; seconds and bytes.

    Attributes:
        execution_s: From the root's path to the complete list; for a program the same as the whole.
        whole_s: From the start of the process to its end.
        cpu_s: CPU time of the execution, all workers included.
        startup_s: Until a strategy could begin to read.
        peak_bytes: Memory of the largest process.
    """

    execution_s: list[float] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    startup_s: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)


Contestant = Callable[[Times], None]


def program(command: Sequence[str]) -> Contestant:
    """Make a contestant of a program, whose output is thrown away."""

    def run(times: Times) -> None:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        whole_s = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.execution_s.append(whole_s)
        times.whole_s.append(whole_s)
        times.cpu_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    return run


def strategy(name: str, request: ScanRequest) -> Contestant:
    """Make a contestant of a strategy, carried out in a trial as in every run."""

    def run(times: Times) -> None:
        began = time.perf_counter()
        outcome = carry_out(ScanTask(strategy=name, request=request))
        whole_s = time.perf_counter() - began
        if outcome.figures is None:
            raise SystemExit(f"{name}: {outcome.message}")
        times.execution_s.append(outcome.figures.wall_s)
        times.whole_s.append(whole_s)
        times.cpu_s.append(outcome.figures.user_s + outcome.figures.system_s)
        times.startup_s.append(outcome.figures.startup_s)
        times.peak_bytes.append(outcome.figures.max_rss_bytes)

    return run


def hold(contestants: Mapping[str, Contestant], rounds: int, seed: int = 0) -> dict[str, Times]:
    """Hold a contest, after one round that does not count."""
    random = Random(seed)  # noqa: S311  chance, not secrets
    results = {name: Times() for name in contestants}
    for number in range(rounds + 1):
        order = list(contestants)
        random.shuffle(order)
        for name in order:
            contestants[name](results[name] if number else Times())
    return results


def scan_request(root: bytes, selection: Selection, workers: int = 2) -> ScanRequest:
    """Ask for a scan as a run would."""
    return ScanRequest(root=root, selection=selection, workers=workers, start_method=DEFAULT_START_METHOD)
