"""An interleaved contest: every contestant once in each round, in random order, so that drift meets all alike."""

import os
import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median

from runner.execution.executor import fire
from runner.history.database import Database
from runner.history.runs import get_run
from runner.measure.environment import DEFAULT_START_METHOD
from runner.measure.trial import ScanTask, TrialResult
from runner.measure.trials import carry_out
from runner.model.jobs import Job, Selection, Track
from runner.model.runs import Execution
from runner.strategies import STRATEGIES
from runner.strategies.base import ScanRequest
from tests.benchmarks.progress import reporting


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What one contestant needed in one round.

    Attributes:
        execution_s: From the root's path to the complete list; for a program the same as the whole.
        whole_s: From the start of the process to its end.
        cpu_s: CPU time of the execution, all workers included.
        startup_s: Until a strategy could begin to read.
        peak_bytes: Memory of the largest process; 0 for a program.
        entries: How many entries the tree has, the same in every round; 0 for a program, which does not tell.
    """

    execution_s: float
    whole_s: float
    cpu_s: float
    startup_s: float = 0.0
    peak_bytes: int = 0
    entries: int = 0


Contestant = Callable[[], list[Measured]]
Results = dict[str, list[Measured]]


def middle(measured: Sequence[Measured], figure: str = "execution_s") -> float:
    """Return the median of a figure over the rounds."""
    return float(median(getattr(each, figure) for each in measured))


def program(command: Sequence[str]) -> Contestant:
    """Make a contestant of a program, whose output is thrown away."""

    def run() -> list[Measured]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        whole_s = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return [Measured(execution_s=whole_s, whole_s=whole_s, cpu_s=cpu_s)]

    return run


def _measured(figures: TrialResult | Execution, whole_s: float, entries: int | None) -> list[Measured]:
    measured = Measured(
        execution_s=figures.wall_s or 0.0,
        whole_s=whole_s,
        cpu_s=(figures.user_s or 0.0) + (figures.system_s or 0.0),
        startup_s=figures.startup_s or 0.0,
        peak_bytes=figures.max_rss_bytes or 0,
        entries=entries or 0,
    )
    return [measured]


def strategy(name: str, request: ScanRequest) -> Contestant:
    """Make a contestant of a strategy, carried out in a trial as in every run."""

    def run() -> list[Measured]:
        began = time.perf_counter()
        outcome = carry_out(ScanTask(strategy=name, request=request))
        whole_s = time.perf_counter() - began
        if outcome.message is not None:
            raise SystemExit(f"{name}: {outcome.message}")
        return _measured(outcome, whole_s, outcome.value.entries)

    return run


def saved_run(database: Database, job: Job) -> Contestant:
    """Make a contestant of a job of one strategy: a whole run of it, saved in its database."""

    def run() -> list[Measured]:
        began = time.perf_counter()
        run_id = fire(database, job)
        whole_s = time.perf_counter() - began
        saved = get_run(database, run_id)
        if not saved.executions or saved.executions[0].wall_s is None:
            raise SystemExit(f"{job.spec.name}: {saved.message}")
        return _measured(saved.executions[0], whole_s, saved.executions[0].entries)

    return run


def at_once(contestant: Contestant) -> Contestant:
    """Make a contestant of two of the same at once."""

    def run() -> list[Measured]:
        with ThreadPoolExecutor(2) as executor:
            both = [executor.submit(contestant) for _ in range(2)]
            return [measured for each in both for measured in each.result()]

    return run


def strategies(request: ScanRequest) -> dict[str, Contestant]:
    """Make contestants of every strategy."""
    return {name: strategy(name, request) for name in STRATEGIES}


def hold(contestants: Mapping[str, Contestant], rounds: int, seed: int = 0) -> Results:
    """Run a contest, after one round that does not count.

    In that round the incremental strategy reads everything and remembers it, so that in those that count it finds
    nothing changed. For that no stamp in the tree may be younger than SETTLED_AFTER_NS then, or the folder is read
    once more: a kept tree is old enough, any other needs a rest first or a round that is thrown away.
    """
    random = Random(seed)  # noqa: S311  chance, not secrets
    results: Results = {name: [] for name in contestants}
    with reporting() as tell:
        for number in range(rounds + 1):
            tell(f"round {number} of {rounds}")
            hold_round(contestants, results if number else None, random)
    return results


def hold_round(contestants: Mapping[str, Contestant], results: Results | None, random: Random) -> None:
    """Run every contestant once, in random order; without *results* the round does not count."""
    for name in random.sample(list(contestants), len(contestants)):
        measured = contestants[name]()
        if results is not None:
            results[name] += measured


def scan_request(root: Path, workers: int = 2, cache: Path | None = None, track: Track = Track.NAMES) -> ScanRequest:
    """Ask for a scan as a run would; without a cache for strategies that remember nothing."""
    return ScanRequest(
        root=os.fsencode(root),
        selection=Selection(track=track),
        workers=workers,
        start_method=DEFAULT_START_METHOD,
        cache=None if cache is None else os.fsencode(cache),
    )
