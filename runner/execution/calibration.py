"""A calibration: strategies, worker counts, start methods and tree sizes, measured in interleaved rounds."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from random import Random

from runner.execution.locks import Stopped, holding, stop_when_lock_lost, wait_for_slot
from runner.history.calibrations import begin_calibration, finish_calibration, get_calibration, record_round
from runner.history.database import Database
from runner.measure.environment import DEFAULT_START_METHOD, START_METHODS, describe_environment, describe_process
from runner.measure.observer import RunObserver
from runner.measure.root_check import look_at_roots, report_waiting
from runner.measure.trial import ScanTask
from runner.measure.trials import carry_out
from runner.model.calibration import Calibration, Condition, Measurement, Question
from runner.model.errors import ScanError
from runner.model.jobs import Selection
from runner.model.runs import Cache, Status
from runner.scan.snapshot import PLACE, Snapshot
from runner.strategies.base import Cluster, ScanRequest

# Subtrees are chosen by size: each about a quarter of the one before, down to this many entries.
_SIZE_RATIO = 4
_MIN_ENTRIES = 50
_WHOLE = Condition(question=Question.WORKERS, strategy="sequential", workers=1, start_method=None, path=b"")


def choose_conditions(found: Snapshot, *, cpus: int, start_method: str, dask: bool = False) -> list[Condition]:
    """Choose what is measured in each round.

    Args:
        found: What a sequential scan of the whole tree found.
        cpus: Usable processors; the pool is measured with up to twice as many workers.
        start_method: How its workers are started, except where start methods are compared.
        dask: Whether to measure the strategy dask as well.
    """

    def condition(question: Question, workers: int, method: str | None = None, path: bytes = b"") -> Condition:
        strategy = "pool" if method else "sequential"
        return Condition(question=question, strategy=strategy, workers=workers, start_method=method, path=path)

    conditions = [condition(Question.WORKERS, 1), condition(Question.NOISE, 1)]
    conditions += [condition(Question.WORKERS, workers, start_method) for workers in range(1, 2 * cpus + 1)]
    if dask:
        conditions.append(replace(_WHOLE, strategy="dask", workers=cpus))
    conditions += [condition(Question.START_METHOD, cpus, method) for method in START_METHODS if method != start_method]
    for path in choose_subtrees(found):
        conditions += [condition(Question.SIZE, 1, path=path), condition(Question.SIZE, cpus, start_method, path)]
    return conditions


def choose_subtrees(found: Snapshot) -> list[bytes]:
    """Choose subtrees whose sizes are closest to a quarter, a sixteenth … of the whole tree, largest first."""
    part = found.tree()
    sizes = [place[1] + 1 for place in PLACE.iter_unpack(part.places)]
    parents = [place[0] for place in PLACE.iter_unpack(part.places)]
    # Backwards, a directory's size is complete when it is added to its parent, which counts the directory itself.
    for number in range(len(sizes) - 1, 0, -1):
        sizes[parents[number]] += sizes[number] - 1
    chosen: dict[int, None] = {}
    target = sizes[0] / _SIZE_RATIO
    while target >= _MIN_ENTRIES:
        nearest = min(range(len(sizes)), key=lambda number: abs(math.log(sizes[number] / target)))
        if nearest and max(sizes[nearest] / target, target / sizes[nearest]) <= _SIZE_RATIO / 2:
            chosen[nearest] = None
        target /= _SIZE_RATIO
    return [part.path(number) for number in chosen]


def order_rounds(count: int, rounds: int, random: Random) -> list[list[int]]:
    """Choose a random order of *count* items for each round; every second order is the previous one reversed.

    So over two rounds all items have the same mean position, and a trend over time affects all alike.
    """
    orders: list[list[int]] = []
    while len(orders) < rounds:
        order = random.sample(range(count), count)
        orders += [order, order[::-1]]
    return orders[:rounds]


def calibrate(
    database: Database,
    root: bytes,
    selection: Selection,
    *,
    cpus: int,
    start_method: str,
    rounds: int,
    observer: RunObserver,
    timeout_s: int | None = None,
    dask: bool = False,
    cluster: Cluster | None = None,
    on_total: Callable[[int], None] = lambda _total: None,
    random: Random | None = None,
) -> Calibration:
    """Measure a tree, and record every round as soon as it is complete; *rounds* follow one that does not count.

    *start_method* is that of pool workers, except where start methods are compared. *dask*
    adds the strategy on *cluster*. *on_total* is called with the number of executions, once it is known.

    Raises:
        ScanError: If the tree can't be scanned, or an execution fails.
        Stopped: If it was stopped; complete rounds are kept.
    """
    random = random or Random()  # noqa: S311  no secret
    [(filesystem, error)] = look_at_roots([root], [timeout_s])
    if error is not None:
        raise ScanError(error)
    environment = describe_environment(None, workers=cpus, start_method=start_method)
    environment = replace(environment, filesystem=filesystem)

    def start() -> int:
        now, owner = datetime.now(UTC), describe_process()
        return begin_calibration(database, root, selection, started_at=now, environment=environment, owner=owner)

    lock = database.location.run_lock()
    what = f"the calibration of {os.fsdecode(root)!r}"
    calibration_id = wait_for_slot(database, holding(lock, start), observer, what=what, job_id=None)
    observer = replace(observer, stop=stop_when_lock_lost(lock, observer.stop))
    finished_at, kept = None, " before a round was complete; nothing is kept"
    try:
        measure = partial(_measure, root, selection, observer=observer, timeout_s=timeout_s, cluster=cluster)
        observer.on_strategy("first look", 1)
        found, _ = measure(_WHOLE)
        conditions = choose_conditions(found, cpus=cpus, start_method=start_method, dask=dask)
        on_total(len(conditions) * (rounds + 1))
        for measured in _measure_rounds(measure, observer, conditions, order_rounds(len(conditions), rounds, random)):
            record_round(database, calibration_id, measured)
            kept = "; its complete rounds are kept, and shown by --last"
        finished_at = datetime.now(UTC)
    except Stopped as stopped:
        raise Stopped(f"{stopped}{kept}") from None
    finally:
        try:
            finish_calibration(database, calibration_id, finished_at)
        finally:
            lock.release()
    return get_calibration(database, calibration_id)


def _measure_rounds(
    measure: Callable[[Condition], tuple[Snapshot, Measurement]],
    observer: RunObserver,
    conditions: Sequence[Condition],
    orders: Iterable[Sequence[int]],
) -> Iterator[list[Measurement]]:
    """Yield the measurements of each round."""
    # Round 0 warms the caches and is not recorded.
    for number, order in enumerate(chain([range(len(conditions))], orders)):
        measured = []
        for position, condition in enumerate((conditions[index] for index in order), start=1):
            observer.on_strategy(describe(condition), position)
            _, measurement = measure(condition)
            measured.append(replace(measurement, round=number, position=position))
        if number:
            yield measured


def _measure(
    root: bytes,
    selection: Selection,
    condition: Condition,
    observer: RunObserver,
    timeout_s: float | None,
    cluster: Cluster | None,
) -> tuple[Snapshot, Measurement]:
    request = ScanRequest(
        root=os.path.join(root, condition.path) if condition.path else root,
        selection=selection,
        workers=condition.workers,
        start_method=condition.start_method or DEFAULT_START_METHOD,
        cluster=cluster,
    )
    observer = report_waiting(observer, [request.root])
    task = ScanTask(strategy=condition.strategy, request=request)
    outcome = carry_out(task, timeout_s=timeout_s, stop=observer.stop, on_progress=observer.on_progress)
    if outcome.message is not None:
        if outcome.status in {Status.CANCELLED, Status.INTERRUPTED}:
            raise Stopped("the calibration was stopped")
        raise ScanError(f"the {condition.strategy} execution failed: {outcome.message}")
    found: Snapshot = outcome.value
    return found, Measurement(
        condition=replace(condition, workers=outcome.workers or condition.workers),
        round=0,
        position=0,
        wall_s=outcome.wall_s,
        startup_s=outcome.startup_s,
        user_s=outcome.user_s,
        system_s=outcome.system_s,
        max_rss_bytes=outcome.max_rss_bytes,
        cache=Cache.COLD if outcome.blocks_in else Cache.WARM,
        files=found.files,
        directories=found.directories,
        entries=found.entries,
    )


def describe(condition: Condition) -> str:
    """Describe a condition in a few words."""
    name = f"pool of {condition.workers}" if condition.strategy == "pool" else condition.strategy
    if condition.question is Question.START_METHOD:
        name += f" by {condition.start_method}"
    return f"{name} on {os.fsdecode(condition.path)!r}" if condition.path else name
