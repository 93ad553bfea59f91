"""An interleaved contest: every contestant once in each round, in random order, so that drift meets all alike."""

import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random

from runner.execution.executor import fire
from runner.history.database import Database
from runner.history.runs import get_run
from runner.measure.environment import DEFAULT_START_METHOD
from runner.measure.trial import ScanTask
from runner.measure.trials import carry_out
from runner.model.jobs import Job, Selection
from runner.strategies import STRATEGIES
from runner.strategies.base import ScanRequest
from tests.benchmarks.progress import reporting


@dataclass(slots=True)
class Times:
    """What one contestant needed, a figure for each round; seconds and bytes.

    Attributes:
        execution_s: From the root's path to the complete list; for a program the same as the whole.
        whole_s: From the start of the process to its end.
        cpu_s: CPU time of the execution, all workers included.
        startup_s: Until a strategy could begin to read.
        peak_bytes: Memory of the largest process.
        entries: How many entries the tree has, the same in every round; 0 for a program, which does not tell.
    """

    execution_s: list[float] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    startup_s: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)
    entries: int = 0


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
        if outcome.message is not None:
            raise SystemExit(f"{name}: {outcome.message}")
        times.execution_s.append(outcome.wall_s)
        times.whole_s.append(whole_s)
        times.cpu_s.append(outcome.user_s + outcome.system_s)
        times.startup_s.append(outcome.startup_s)
        times.peak_bytes.append(outcome.max_rss_bytes)
        times.entries = outcome.value.entries

    return run


def at_once(contestant: Contestant) -> Contestant:
    """Make a contestant of two of the same at once."""

    def run(times: Times) -> None:
        with ThreadPoolExecutor(2) as executor:
            for done in [executor.submit(contestant, times) for _ in range(2)]:
                done.result()

    return run


def strategies(request: ScanRequest) -> dict[str, Contestant]:
    """Make contestants of every strategy."""
    return {name: strategy(name, request) for name in STRATEGIES}


def saved_run(database: Database, job: Job) -> Contestant:
    """Make a contestant of a job of one strategy: a whole run of it, saved in its database."""

    def run(times: Times) -> None:
        began = time.perf_counter()
        run_id = fire(database, job)
        whole_s = time.perf_counter() - began
        saved = get_run(database, run_id)
        if not saved.executions or saved.executions[0].wall_s is None:
            raise SystemExit(f"{job.spec.name}: {saved.message}")
        execution = saved.executions[0]
        times.execution_s.append(execution.wall_s or 0.0)
        times.whole_s.append(whole_s)
        times.cpu_s.append((execution.user_s or 0.0) + (execution.system_s or 0.0))
        times.startup_s.append(execution.startup_s or 0.0)
        times.peak_bytes.append(execution.max_rss_bytes or 0)
        times.entries = execution.entries or 0

    return run


def hold(contestants: Mapping[str, Contestant], rounds: int, seed: int = 0) -> dict[str, Times]:
    """Run a contest, after one round that does not count.

    In that round the incremental strategy reads everything and remembers it, so that in those that count it finds
    nothing changed. For that no stamp in the tree may be younger than SETTLED_AFTER_NS then, or the folder is read
    once more: a kept tree is old enough, any other needs a rest first or a round that is thrown away.
    """
    random = Random(seed)  # noqa: S311  chance, not secrets
    results = {name: Times() for name in contestants}
    with reporting() as tell:
        for number in range(rounds + 1):
            tell(f"round {number} of {rounds}")
            hold_round(contestants, results if number else {name: Times() for name in contestants}, random)
    return results


def hold_round(contestants: Mapping[str, Contestant], results: Mapping[str, Times], random: Random) -> None:
    """Run every contestant once, in random order."""
    for name in random.sample(list(contestants), len(contestants)):
        contestants[name](results[name])


def scan_request(root: bytes, selection: Selection, workers: int = 2, cache: bytes | None = None) -> ScanRequest:
    """Ask for a scan as a run would; without a cache for strategies that remember nothing."""
    return ScanRequest(root=root, selection=selection, workers=workers, start_method=DEFAULT_START_METHOD, cache=cache)
