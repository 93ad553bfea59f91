"""The results of the lesson, as records and as a table."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from runner.execution.lesson import Measurement
from runner.measure.lesson import Experiment
from runner.model.units import format_seconds
from runner.output.cells import Column
from runner.output.grid import Grid
from runner.output.records import encode, keys_of

LESSON_KEYS = keys_of(Measurement)
lesson_record = encode
_SHORT = {"sequential": "loop", "pool": "pool"}
_SUBJECTS = {Experiment.SQUARES: "the squares of 0…99", Experiment.MARKDOWN: "the markdown search"}


def lesson_table(measurements: Sequence[Measurement]) -> RenderableType:
    """Render the four measurements, and one sentence on each experiment."""
    label = Column("", lambda one: f"{one.experiment}, {_SHORT[one.way]}")
    columns = [
        Column("experiment", "experiment", priority=1, substitute=label),
        Column("way", "way", priority=1),
        Column("found", "result", right=True, priority=1),
        Column("wall", "wall_s", right=True),
        Column("start-up", "startup_s", right=True),
        Column("parent user", "parent_user_s", right=True),
        Column("sys", "parent_system_s", right=True),
        Column("workers user", "workers_user_s", right=True),
        Column("sys ", "workers_system_s", right=True),
    ]
    return Group(Grid(rows=measurements, columns=columns, split=True), Text(""), *_sentences(measurements))


def _sentences(measurements: Sequence[Measurement]) -> Iterator[Text]:
    """Describe for each experiment which way was faster, and why the CPU time of the parent misleads."""
    for experiment in Experiment:
        loop, pool = (one for one in measurements if one.experiment is experiment)
        winner, loser = sorted((loop, pool), key=lambda one: one.wall_s)
        parent_s = format_seconds(pool.parent_user_s + pool.parent_system_s)
        workers_s = format_seconds(pool.workers_user_s + pool.workers_system_s)
        yield Text(
            f"For {_SUBJECTS[experiment]}, {winner.way} won: {format_seconds(winner.wall_s)} against "
            f"{format_seconds(loser.wall_s)} of wall time, {loser.wall_s / winner.wall_s:.1f} times as fast; "
            f"the pool's parent shows only {parent_s} of CPU time because its workers spent another {workers_s}, "
            "and neither is the time that a user waits."
        )
