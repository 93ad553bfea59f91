"""A calibration: every way of scanning a tree, and trees of every size, measured in interleaved rounds."""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from random import Random

from runner.execution.locks import Stopped, holding, stop_when_lock_lost, wait_for_slot
from runner.history.calibrations import begin_calibration, finish_calibration, get_calibration, record_round
from runner.history.database import Database, RunLock
from runner.measure.environment import DEFAULT_START_METHOD, START_METHODS, describe_environment, describe_process
from runner.measure.observer import RunObserver
from runner.measure.root_check import look_at_roots, tell_waiting
from runner.measure.trial import ScanTask
from runner.measure.trials import carry_out
from runner.model.calibration import Calibration, Condition, Measurement, Question
from runner.model.errors import ScanError
from runner.model.jobs import Selection
from runner.model.runs import Cache, Environment, Status
from runner.scan.found import Found
from runner.scan.part import PLACE, decode
from runner.strategies.base import ScanRequest

# The sizes of subtrees aimed at: each a quarter of the one above, down to this many entries.
_RUNG = 4
_SMALLEST = 50


def choose_conditions(found: Found, *, cpus: int, start_method: str) -> list[Condition]:
    """Choose what is measured in each round.

    Args:
        found: What a sequential scan of the whole tree found.
        cpus: Processors that may be used; the pool is tried with up to twice as many workers.
        start_method: How its workers are started where that is not the question.

    Returns:
        The conditions, each once.
    """

    def condition(question: Question, workers: int, method: str | None = None, path: bytes = b"") -> Condition:
        strategy = "pool" if method else "sequential"
        return Condition(question=question, strategy=strategy, workers=workers, start_method=method, path=path)

    conditions = [condition(Question.WORKERS, 1), condition(Question.NOISE, 1)]
    conditions += [condition(Question.WORKERS, workers, start_method) for workers in range(1, 2 * cpus + 1)]
    conditions += [condition(Question.START_METHOD, cpus, method) for method in START_METHODS if method != start_method]
    for path in choose_subtrees(found):
        conditions += [condition(Question.SIZE, 1, path=path), condition(Question.SIZE, cpus, start_method, path)]
    return conditions


def choose_subtrees(found: Found) -> list[bytes]:
    """Choose subtrees whose sizes come closest to a ladder of sizes, largest first, without the whole tree."""
    [pieces] = found.parts
    part = decode(pieces)
    sizes = [place[1] + 1 for place in PLACE.iter_unpack(part.places)]
    parents = [place[0] for place in PLACE.iter_unpack(part.places)]
    # The other way round every folder's subfolders are complete when it is added to its parent; it is counted there.
    for number in range(len(sizes) - 1, 0, -1):
        sizes[parents[number]] += sizes[number] - 1
    chosen: dict[int, None] = {}
    target = sizes[0] / _RUNG
    while target >= _SMALLEST:
        nearest = min(range(len(sizes)), key=lambda number: abs(math.log(sizes[number] / target)))
        if nearest and max(sizes[nearest] / target, target / sizes[nearest]) <= _RUNG / 2:
            chosen[nearest] = None
        target /= _RUNG
    return [part.path(number) for number in chosen]


def order_rounds(count: int, rounds: int, random: Random) -> list[list[int]]:
    """Choose the order of each round: every second one is the one before backwards.

    So over each two rounds everything comes at the same mean position, and what grows or fades with time meets all
    alike, while chance decides who follows whom.

    Args:
        count: How many there are to be ordered.
        rounds: How many orders.
        random: Where chance comes from.
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
    watching: RunObserver,
    timeout_s: int | None = None,
    on_total: Callable[[int], None] = lambda _total: None,
    random: Random | None = None,
) -> Calibration:
    """Measure a tree, and keep every round as soon as it is complete.

    Args:
        database: Where it is kept.
        root: Absolute path of the tree.
        selection: What is looked for.
        cpus: Processors that may be used.
        start_method: How pool workers are started where that is not the question.
        rounds: How often everything is measured, after once that does not count.
        watching: Told of each execution, and asked to stop.
        timeout_s: Seconds after which an execution is ended; None for never.
        on_total: Told how many executions there will be, once that is known.
        random: Where chance comes from; None for the system's.

    Raises:
        ScanError: If the tree can't be scanned, or an execution fails.
        Stopped: If it was stopped; the rounds that were complete are kept.
    """
    random = random or Random()  # noqa: S311  chance, not secrets
    environment = describe_environment(None, workers=cpus, start_method=start_method)
    environment = replace(environment, filesystem=_find_filesystem(root, timeout_s))
    lock = database.location.run_lock()
    calibration_id = _begin(database, root, selection, environment=environment, watching=watching, lock=lock)
    watching = replace(watching, stop=stop_when_lock_lost(lock, watching.stop))
    finished_at, kept = None, " before a round was complete; nothing is kept"
    try:
        alone = Condition(question=Question.WORKERS, strategy="sequential", workers=1, start_method=None, path=b"")
        watching.on_strategy("first look", 1)
        found, _ = _measure(root, selection, alone, watching, timeout_s)
        conditions = choose_conditions(found, cpus=cpus, start_method=start_method)
        on_total(len(conditions) * (rounds + 1))
        orders = order_rounds(len(conditions), rounds, random)
        # The first round warms caches for whoever would else have gone first.
        for number, order in enumerate(chain([range(len(conditions))], orders)):
            measured = []
            for position, chosen in enumerate(order, start=1):
                condition = conditions[chosen]
                watching.on_strategy(describe(condition), position)
                _, measurement = _measure(
                    root, selection, condition, watching, timeout_s, round_=number, position=position
                )
                measured.append(measurement)
            if number:
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


def _find_filesystem(root: bytes, timeout_s: float | None) -> str:
    [(filesystem, error)] = look_at_roots([root], [timeout_s])
    if error is not None:
        raise ScanError(error)
    return filesystem


def _begin(
    database: Database,
    root: bytes,
    selection: Selection,
    *,
    environment: Environment,
    watching: RunObserver,
    lock: RunLock,
) -> int:
    owner = describe_process()

    def begin() -> int:
        return begin_calibration(
            database, root, selection, started_at=datetime.now(UTC), environment=environment, owner=owner
        )

    what = f"the calibration of {os.fsdecode(root)!r}"
    return wait_for_slot(database, holding(lock, begin), watching, what=what, job_id=None)


def _measure(
    root: bytes,
    selection: Selection,
    condition: Condition,
    watching: RunObserver,
    timeout_s: float | None,
    *,
    round_: int = 0,
    position: int = 0,
) -> tuple[Found, Measurement]:
    request = ScanRequest(
        root=os.path.join(root, condition.path) if condition.path else root,
        selection=selection,
        workers=condition.workers,
        start_method=condition.start_method or DEFAULT_START_METHOD,
    )
    watching = tell_waiting(watching, [request.root])
    outcome = carry_out(
        ScanTask(strategy=condition.strategy, request=request),
        timeout_s=timeout_s,
        stop=watching.stop,
        on_progress=watching.on_progress,
    )
    figures = outcome.figures
    if figures is None:
        if outcome.status in {Status.CANCELLED, Status.INTERRUPTED}:
            raise Stopped("the calibration was stopped")
        raise ScanError(f"the {condition.strategy} execution failed: {outcome.message}")
    found: Found = outcome.result
    return found, Measurement(
        condition=condition,
        round=round_,
        position=position,
        wall_s=figures.wall_s,
        startup_s=figures.startup_s,
        user_s=figures.user_s,
        system_s=figures.system_s,
        max_rss_bytes=figures.max_rss_bytes,
        cache=Cache.COLD if figures.blocks_in else Cache.WARM,
        files=found.files,
        directories=found.directories,
        entries=found.entries,
    )


def describe(condition: Condition) -> str:
    """Name a condition in a few words."""
    name = "sequential" if condition.strategy == "sequential" else f"pool of {condition.workers}"
    if condition.question is Question.START_METHOD:
        name += f" by {condition.start_method}"
    return f"{name} on {os.fsdecode(condition.path)!r}" if condition.path else name
