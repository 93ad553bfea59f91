"""The strategy dask on a real cluster of this machine, and a model of larger ones beside published results.

The first table measures a scheduler and workers on loopback: against sequential and pool, with slow directories, with
killed and stopped workers, and what it refuses. The costs of a slice that are measured on the way are those of the
model, in which a simulated scheduler runs the real splitting.
"""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import psutil
import pytest

from runner.measure.trial import ScanTask, TrialResult
from runner.measure.trials import Progress, carry_out
from runner.model.jobs import Selection
from runner.scan.pending import Pending
from runner.strategies.base import Cluster, ScanRequest
from runner.strategies.sequential import Sequential
from tests.benchmarks.cluster_model import FILES, Costs, simulate
from tests.benchmarks.contest import hold, middle, strategy
from tests.benchmarks.dask_cluster import RealCluster
from tests.benchmarks.progress import make_parser, write_head, write_row
from tests.benchmarks.snapshots import scanned
from tests.benchmarks.trees import kept_tree

_FILES_A_DIRECTORY = 30
_DELAY_S = 0.001
# Makes each directory take a millisecond longer; a worker imports it twice.
_SLOW = f"""
import time
from runner.scan.pending import Pending

def open_slowly(self, parent, name, open=Pending.open):
    time.sleep({_DELAY_S})
    return open(self, parent, name)

if Pending.open.__name__ != "open_slowly":
    Pending.open = open_slowly
"""
# Longer scans are not simulated: they take hundreds of thousands of slices, and the division is almost ideal.
_LONGEST_S = 20_000.0
# hpc/mpifileutils#552 on GitHub: files, processes and seconds of dwalk.
_PUBLISHED = ((540_000_000, 64, 7_282), (542_000_000, 128, 3_755))


def main() -> None:
    """Measure, and print both tables."""
    given = make_parser(__doc__, files=300_000, rounds=7, kills=50).parse_args()
    root = kept_tree(f"lopsided-{given.files}", lambda path: _write_tree(path, given.files // _FILES_A_DIRECTORY))
    write_head("measurement", "measured", "target")
    files_per_s = _compare(root, given.rounds, given.files)
    costs = _read_slowly(root, files_per_s)
    _disturb(root, given.kills)
    _refuse(root)
    _print_model(costs)


def _write_tree(root: Path, directories: int) -> None:
    """Write a tree with 70 % of its directories in one subtree."""
    for number in range(directories):
        top = "huge" if number % 10 < 7 else f"small-{number % 97:02}"
        below = root / top / f"{number // 1_000:03}" / f"{number // 10 % 100:02}" / f"{number % 10}"
        below.mkdir(parents=True)
        fd = os.open(below, os.O_RDONLY)
        for file in range(_FILES_A_DIRECTORY):
            os.close(os.open(f"{file:03}.md" if file % 10 == 0 else f"{file:03}", os.O_CREAT, dir_fd=fd))
        os.close(fd)


def _request(root: Path, cluster: Cluster | None = None) -> ScanRequest:
    return ScanRequest(root=os.fsencode(root), selection=Selection(), workers=2, start_method="fork", cluster=cluster)


@contextmanager
def _started(workers: int, preload: str = "") -> Iterator[RealCluster]:
    with tempfile.TemporaryDirectory() as directory, RealCluster(Path(directory), workers, preload=preload) as real:
        yield real


def _scan(root: Path, cluster: Cluster, observe: Callable[[Progress], None] = lambda _: None) -> TrialResult:
    outcome = carry_out(ScanTask(strategy="dask", request=_request(root, cluster)), on_progress=observe)
    if outcome.message is not None:
        raise SystemExit(f"{outcome.message}: {outcome.defect}")
    return outcome


def _compare(root: Path, rounds: int, files: int) -> float:
    """Compare two workers with sequential and pool; return how many files sequential reads in a second."""
    with _started(2) as real:
        names = ("sequential", "pool", "dask")
        results = hold({name: strategy(name, _request(root, real.cluster)) for name in names}, rounds)
    wall_s = {name: middle(results[name]) for name in names}
    cpu_s = {name: middle(results[name], "cpu_s") for name in names}
    by_pool = median(dask.execution_s / pool.execution_s for dask, pool in _pairs(results, "pool"))
    by_cpu = median(dask.cpu_s / alone.cpu_s for dask, alone in _pairs(results, "sequential"))
    times = ", ".join(f"{name} {wall_s[name]:.3f} s ({cpu_s[name]:.3f} s CPU)" for name in names)
    write_row(f"{files:,} files, two workers: {times}", f"{by_pool:.2f} × pool", "≤ 1.7 × pool")
    write_row("CPU time, driver and scheduler included", f"{by_cpu:.2f} × sequential", "≤ 1.5 × sequential")
    return files / wall_s["sequential"]


def _pairs(results: Any, other: str) -> Iterator[tuple[Any, Any]]:
    return zip(results["dask"], results[other], strict=True)


def _read_slowly(root: Path, files_per_s: float) -> Costs:
    """Compare 8 workers with sequential where each directory takes a millisecond; return the costs of a slice."""
    alone_s = _sequential_slowly(root)
    with _started(8, _SLOW) as real:
        scheduler = psutil.Process(real.scheduler.pid)
        _scan(root, real.cluster)
        before_s = sum(scheduler.cpu_times()[:2])
        outcome = _scan(root, real.cluster)
        scheduler_s = sum(scheduler.cpu_times()[:2]) - before_s
    slices = len(outcome.value.sizes)
    what = f"8 workers at 1 ms a directory: sequential {alone_s:.2f} s, dask {outcome.wall_s:.2f} s, {slices} slices"
    write_row(what, f"{alone_s / outcome.wall_s:.2f} ×", "≥ 5 × sequential")
    driver_s = outcome.own_user_s + outcome.own_system_s
    return Costs(files_per_s=files_per_s, scheduler_s=scheduler_s / slices, driver_s=driver_s / slices)


def _sequential_slowly(root: Path) -> float:
    """Return the time of a sequential scan with slow directories, in a process of its own."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        plain_open = Pending.open

        def open_slowly(self: Pending, *which: Any) -> int:
            time.sleep(_DELAY_S)
            return plain_open(self, *which)

        pytest.MonkeyPatch().setattr(Pending, "open", open_slowly)
        began = time.perf_counter()
        scanned(Sequential(), _request(root))
        os.write(writer, str(time.perf_counter() - began).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        return float(answer.read())


def _disturb(root: Path, kills: int) -> None:
    """Kill and stop workers during scans."""
    expected = carry_out(ScanTask(strategy="sequential", request=_request(root))).value.digest
    random = Random(1)  # noqa: S311  chance, not secrets
    with _started(4, _SLOW) as real:
        undisturbed_s = _scan(root, real.cluster).wall_s
        killed = scans = wrong = 0
        while killed < kills:
            due_s = time.monotonic() + random.uniform(0, 2)

            def kill(progress: Progress) -> None:
                nonlocal killed, due_s
                if progress.directories and time.monotonic() >= due_s and killed < kills:
                    due_s = time.monotonic() + random.uniform(0.5, 2)
                    real.workers.pop(random.randrange(len(real.workers))).kill()
                    real.add_worker()
                    killed += 1

            outcome = _scan(root, real.cluster, kill)
            scans += 1
            wrong += outcome.value.digest != expected
        write_row(f"{killed} SIGKILLs of workers in {scans} scans", f"{wrong} wrong digests", "0")
        stopped = [False]

        def stop(progress: Progress) -> None:
            if progress.directories and not stopped[0]:
                stopped[0] = True
                real.workers[0].send_signal(signal.SIGSTOP)

        outcome = _scan(root, real.cluster, stop)
        real.workers[0].send_signal(signal.SIGCONT)
        limit_s = undisturbed_s + max(1.0, 10 * undisturbed_s / 8)
        same = "equal" if outcome.value.digest == expected else "WRONG"
        write_row(
            f"a stopped worker of 4; undisturbed {undisturbed_s:.2f} s",
            f"{outcome.wall_s:.2f} s, {same} digest",
            f"≤ {limit_s:.2f} s (10 slices more)",
        )


def _refuse(root: Path) -> None:
    """Measure how soon a scan fails that can't be carried out."""
    with _started(1) as real:
        foreign = ("unshare", "--mount", "--propagation", "private", "sh", "-c", 'mount -t tmpfs none "$0"; exec "$@"')
        if os.geteuid() == 0:
            real.add_worker(*foreign, str(root))
            real.wait_for_workers(2)
            _write_refusal("foreign mount at a worker", root, real.cluster)
        real.scheduler.send_signal(signal.SIGSTOP)
        _write_refusal("stopped scheduler", root, real.cluster)
        real.scheduler.send_signal(signal.SIGKILL)
        _write_refusal("dead scheduler", root, real.cluster)


def _write_refusal(what: str, root: Path, cluster: Cluster) -> None:
    began = time.perf_counter()
    outcome = carry_out(ScanTask(strategy="dask", request=_request(root, cluster)))
    took_s = time.perf_counter() - began
    nothing = "nothing found" if outcome.value is None else "SAVED"
    write_row(f"{what}: {outcome.message}", f"{outcome.status.value} in {took_s:.2f} s, {nothing}", "failed in 2 s")


def _print_model(costs: Costs) -> None:
    each_ms = f"{costs.scheduler_s * 1e3:.1f} ms of the scheduler and {costs.driver_s * 1e3:.1f} ms of the driver"
    processes = [(files, workers, seconds, files / workers / seconds) for files, workers, seconds in _PUBLISHED]
    remote = Costs(files_per_s=processes[0][3], scheduler_s=costs.scheduler_s, driver_s=costs.driver_s)
    sys.stdout.write(
        f"\nModel: {FILES} files in a directory, 70 % of each subtree in one of its 10 parts;\n"
        f"a slice takes {each_ms}, as measured above, each in one thread;\n"
        "a message takes 0.5 ms. Not modelled: file systems that are slower with more readers, the bandwidth of the\n"
        "network, and saving. In brackets: by an ideal division.\n\n"
    )
    for title, given in (
        (f"a local file system, {costs.files_per_s:,.0f} files/s a worker as measured", costs),
        (f"a parallel file system, {remote.files_per_s:,.0f} files/s a worker as in dwalk's runs", remote),
    ):
        sizes = (10**6, 10**7, 10**8, 10**9)
        write_head(f"workers; {title}", *(f"{size // 10**6:,} M files" for size in sizes))
        for workers in (1, 10, 100, 1_000, 3_000):
            write_row(workers, *(_modelled(size, workers, given) for size in sizes))
        sys.stdout.write("\n")
    write_head("published, hpc/mpifileutils#552", "dwalk", "model at its rate")
    for files, workers, seconds, rate in processes:
        given = Costs(files_per_s=rate, scheduler_s=costs.scheduler_s, driver_s=costs.driver_s)
        write_row(f"{files:,} files, {workers} processes", f"{seconds:,} s", _modelled(files, workers, given))


def _modelled(files: int, workers: int, costs: Costs) -> str:
    ideal_s = files / workers / costs.files_per_s
    if ideal_s > _LONGEST_S:
        return f"({ideal_s:,.0f})"
    result = simulate(files // FILES, workers, costs)
    if result.directories != files // FILES:
        raise SystemExit(f"the splitting lost directories: {result}")
    return f"{result.wall_s:,.1f} s ({ideal_s:,.1f})"


if __name__ == "__main__":
    main()
