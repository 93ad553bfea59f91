"""The lesson's two experiments, done as the lesson does them but measured as they should be.

The lesson squares 0…99 and looks for markdown in a folder of folders, each in a plain loop and through ``Pool.map``,
and ends the pool by ``close`` and ``join``. It then compares the CPU time of the process that made the pool, which did
none of the work.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

from runner.measure.trial import Measured
from runner.strategies.watched_pool import starting, trial_context

if TYPE_CHECKING:
    from runner.scan.walk import Report


class Experiment(StrEnum):
    """What is done."""

    SQUARES = "squares"
    MARKDOWN = "markdown"


@dataclass(frozen=True, kw_only=True, slots=True)
class LessonTask:
    """One experiment, in one of the two ways.

    Attributes:
        experiment: What is done.
        workers: Processes of the pool; 0 for a plain loop.
        start_method: How the pool starts them.
        directories: The folder of folders searched by the second experiment.
    """

    experiment: Experiment
    workers: int
    start_method: str
    directories: bytes

    def prepare(self) -> str:
        """Nothing is left to import, and nobody asks for the file system; see :class:`~runner.measure.trial.Task`."""
        return ""

    def carry_out(self, report: Report) -> Measured:
        """Do it, timing it from the first line of the lesson's cell to its last; the result is how much it found."""
        began = time.perf_counter()
        startup_s = 0.0
        function: Any
        items: list[Any]
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
        return Measured(wall_s=wall_s, startup_s=startup_s, result=sum(results), end=_nothing_left)


def square(number: int) -> int:
    """Square a number."""
    return number * number


def count_markdown(directories: bytes, folder: bytes) -> int:
    """Count the markdown files in one folder; a stray file among the folders has none."""
    path = os.path.join(directories, folder)
    if not os.path.isdir(path):
        return 0
    return sum(name.endswith(b".md") for name in os.listdir(path))


def _nothing_left() -> None:
    """The pool has been ended within the measured time, as in the lesson."""
