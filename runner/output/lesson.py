"""The lesson's table, and what it says."""

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.text import Text

from runner.execution.lesson import Measurement
from runner.measure.lesson import Experiment
from runner.model.units import format_seconds
from runner.output.grid import Cell, Column, Grid
from runner.output.records import Record

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
_TOLD = {Experiment.SQUARES: "the squares of 0…99", Experiment.MARKDOWN: "the markdown search"}


def lesson_record(measurement: Measurement) -> Record:
    """Make the record of one measurement."""
    return {key: str(value) if key == "experiment" else value for key, value in asdict(measurement).items()}


def lesson_table(measurements: Sequence[Measurement]) -> RenderableType:
    """Lay out the four measurements, and one sentence on each experiment."""
    columns = {
        "label": Column(cells=[Cell(f"{one.experiment.value}, {_SHORT[one.way]}") for one in measurements]),
        "experiment": Column(header="experiment", cells=[Cell(one.experiment.value) for one in measurements]),
        "way": Column(header="way", cells=[Cell(one.way) for one in measurements]),
        "found": Column(header="found", cells=[Cell(f"{one.result:,}") for one in measurements], right=True),
    }
    for title, key in _TIMES.items():
        cells = [Cell(format_seconds(getattr(one, key))) for one in measurements]
        columns[key] = Column(header=title, cells=cells, right=True)
    full = ["experiment", "way", "found", *_TIMES.values()]
    narrow = ["label", *_TIMES.values()]
    sentences = [Text(sentence) for sentence in lesson_sentences(measurements)]
    return Group(Grid(columns=columns, layouts=[full, narrow], split=True), Text(""), *sentences)


def lesson_sentences(measurements: Sequence[Measurement]) -> list[str]:
    """Say for each experiment what won, and why the parent's CPU time misleads."""
    sentences = []
    for experiment in Experiment:
        loop, pool = (one for one in measurements if one.experiment is experiment)
        winner, loser = sorted((loop, pool), key=lambda one: one.wall_s)
        times = loser.wall_s / winner.wall_s
        parent_s = pool.parent_user_s + pool.parent_system_s
        workers_s = pool.workers_user_s + pool.workers_system_s
        sentences.append(
            f"For {_TOLD[experiment]}, {winner.way} won: {format_seconds(winner.wall_s)} against "
            f"{format_seconds(loser.wall_s)} of wall time, {times:.1f} times as fast; the pool's parent shows only "
            f"{format_seconds(parent_s)} of CPU time because its workers spent another {format_seconds(workers_s)}, "
            "and neither says how long anybody waited."
        )
    return sentences
