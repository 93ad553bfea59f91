"""The results of the lesson, as records and as a table."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from runner.execution.lesson import Measurement
from runner.measure.lesson import Experiment
from runner.model.units import format_seconds
from runner.output.grid import Cell, Column, Grid
from runner.output.records import Record, encode

LESSON_KEYS = (
    "experiment", "way", "result", "wall_s", "startup_s",
    "parent_user_s", "parent_system_s", "workers_user_s", "workers_system_s",
)  # fmt: skip

_TIMES = {
    "wall": "wall_s",
    "start-up": "startup_s",
    "parent user": "parent_user_s",
    "sys": "parent_system_s",
    "workers user": "workers_user_s",
    "sys ": "workers_system_s",
}
_SHORT = {"sequential": "loop", "pool": "pool"}
_SUBJECTS = {Experiment.SQUARES: "the squares of 0…99", Experiment.MARKDOWN: "the markdown search"}


def lesson_record(measurement: Measurement) -> Record:
    """Return one measurement as it is listed."""
    return encode(measurement, LESSON_KEYS)


def lesson_table(measurements: Sequence[Measurement]) -> RenderableType:
    """Render the four measurements, and one sentence on each experiment."""
    label = Column("", lambda one: Cell(f"{one.experiment.value}, {_SHORT[one.way]}"))
    columns = [
        Column("experiment", lambda one: Cell(one.experiment.value), priority=1, substitute=label),
        Column("way", lambda one: Cell(one.way), priority=1),
        Column("found", lambda one: Cell(f"{one.result:,}"), right=True, priority=1),
    ]
    columns += [_time_column(title, key) for title, key in _TIMES.items()]
    sentences = [Text(sentence) for sentence in lesson_sentences(measurements)]
    return Group(Grid(rows=measurements, columns=columns, split=True), Text(""), *sentences)


def _time_column(title: str, key: str) -> Column:
    return Column(title, lambda one: Cell(format_seconds(getattr(one, key))), right=True)


def lesson_sentences(measurements: Sequence[Measurement]) -> list[str]:
    """Describe for each experiment which way was faster, and why the CPU time of the parent misleads."""
    sentences = []
    for experiment in Experiment:
        loop, pool = (one for one in measurements if one.experiment is experiment)
        winner, loser = sorted((loop, pool), key=lambda one: one.wall_s)
        times = loser.wall_s / winner.wall_s
        parent_s = pool.parent_user_s + pool.parent_system_s
        workers_s = pool.workers_user_s + pool.workers_system_s
        sentences.append(
            f"For {_SUBJECTS[experiment]}, {winner.way} won: {format_seconds(winner.wall_s)} against "
            f"{format_seconds(loser.wall_s)} of wall time, {times:.1f} times as fast; the pool's parent shows only "
            f"{format_seconds(parent_s)} of CPU time because its workers spent another {format_seconds(workers_s)}, "
            "and neither is the time that a user waits."
        )
    return sentences
