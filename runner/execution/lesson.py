"""The lesson carried out: each experiment in both ways, several rounds, in balanced order."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from statistics import median

from runner.execution.order import choose_order
from runner.measure.lesson import Experiment, LessonTask
from runner.measure.trials import Figures, carry_out
from runner.model.errors import ScanError

WAYS = ("sequential", "pool")
# No experiment takes a second; a pool that lost a worker would wait for ever.
_TIMEOUT_S = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One experiment in one way: medians over the rounds.

    Attributes:
        experiment: What was done.
        way: ``sequential`` or ``pool``.
        result: How much it found.
        wall_s: Seconds from beginning to end, the pool's start and end included.
        startup_s: Seconds until the pool could take work.
        parent_user_s: User CPU seconds of the process that the lesson looks at.
        parent_system_s: System CPU seconds likewise.
        workers_user_s: User CPU seconds of the pool's workers.
        workers_system_s: System CPU seconds likewise.
    """

    experiment: Experiment
    way: str
    result: int
    wall_s: float
    startup_s: float
    parent_user_s: float
    parent_system_s: float
    workers_user_s: float
    workers_system_s: float


def carry_out_lesson(
    directories: bytes, *, workers: int, start_method: str, rounds: int, on_trial: Callable[[], None]
) -> list[Measurement]:
    """Carry out both experiments in both ways.

    Args:
        directories: The lesson's folder of folders.
        workers: Processes of the pool.
        start_method: How they are started.
        rounds: How often each is done.
        on_trial: Told after each trial.

    Returns:
        The four measurements.

    Raises:
        ScanError: If a trial fails.
    """
    measurements = []
    random = Random()  # noqa: S311  chance, not secrets
    for experiment in Experiment:
        figures: dict[str, list[Figures]] = {way: [] for way in WAYS}
        results: dict[str, int] = {}
        first: list[str] = []
        for _ in range(rounds):
            order = choose_order(WAYS, first, random)
            first.insert(0, order[0])
            for way in order:
                task = LessonTask(
                    experiment=experiment,
                    workers=workers if way == "pool" else 0,
                    start_method=start_method,
                    directories=directories,
                )
                outcome = carry_out(task, timeout_s=_TIMEOUT_S)
                if outcome.figures is None:
                    raise ScanError(f"the {experiment} experiment failed ({way}): {outcome.message}")
                figures[way].append(outcome.figures)
                results[way] = outcome.result
                on_trial()
        measurements += [_summarise(experiment, way, results[way], figures[way]) for way in WAYS]
    return measurements


def _summarise(experiment: Experiment, way: str, result: int, figures: list[Figures]) -> Measurement:
    return Measurement(
        experiment=experiment,
        way=way,
        result=result,
        wall_s=median(one.wall_s for one in figures),
        startup_s=median(one.startup_s for one in figures),
        parent_user_s=median(one.own_user_s for one in figures),
        parent_system_s=median(one.own_system_s for one in figures),
        workers_user_s=median(one.workers_user_s for one in figures),
        workers_system_s=median(one.workers_system_s for one in figures),
    )
