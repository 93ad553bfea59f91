"""The lesson's two experiments, done as in the lesson but measured correctly.

The lesson squares 0…99 and finds markdown in a directory of directories, each in a plain loop and through
``Pool.map``, and ends the pool by ``close`` and ``join``. It then compares the CPU time of the process that created the
pool, which did none of the work.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

from runner.measure.trial import Task, TrialResult
from runner.strategies.watched_pool import starting, trial_context

if TYPE_CHECKING:
    from runner.measure.trial import End
    from runner.scan.walk import Report


class Experiment(StrEnum):
    """The experiments."""

    SQUARES = "squares"
    MARKDOWN = "markdown"


@dataclass(frozen=True, kw_only=True, slots=True)
class LessonTask(Task):
    """One experiment, in a plain loop if there are no workers; its value is the sum of the results."""

    experiment: Experiment
    workers: int
    start_method: str
    directories: bytes

    def carry_out(self, report: Report, _output: int) -> tuple[TrialResult, End]:
        """Measure it from the first line of the lesson's cell to the last."""
        function: Any
        items: list[Any]
        startup_s, began = 0.0, time.perf_counter()
        if self.experiment is Experiment.SQUARES:
            function, items = square, list(range(100))
        else:
            function, items = partial(count_markdown, self.directories), os.listdir(self.directories)
        if self.workers:
            with starting(self.workers):
                pool = trial_context(self.start_method).Pool(self.workers)
            startup_s = time.perf_counter() - began
            results = pool.map(function, items)
            pool.close()
            pool.join()
        else:
            results = [function(item) for item in items]
        wall_s = time.perf_counter() - began
        report(0, len(items), sum(results))
        return TrialResult(wall_s=wall_s, startup_s=startup_s, value=sum(results)), None


def square(number: int) -> int:
    """Return the square of a number."""
    return number * number


def count_markdown(directories: bytes, name: bytes) -> int:
    """Count the markdown files in one directory; zero for a stray file."""
    path = os.path.join(directories, name)
    if not os.path.isdir(path):
        return 0
    return sum(file.endswith(b".md") for file in os.listdir(path))
