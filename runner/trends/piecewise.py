"""The steps of a series of any length, and how far its end lies above its lowest level."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from statistics import median
from typing import NamedTuple

from runner.trends.compare import Interval
from runner.trends.steps import PiecewiseFit, Rise, Rising, Step

__all__ = ["MOST_POINTS", "Movement", "PiecewiseTrend", "Rise", "Rising", "Step", "find_movement"]

# The search takes more than twice as long for twice as many points.
MOST_POINTS = 200
# Two steps closer than this, one in the groups and one in the last runs, are the same.
_SAME = MOST_POINTS


class PiecewiseTrend:
    """The steps and rises of a series: the last 200 runs one by one, longer series also in groups of runs.

    A group is represented by its median.

    Args:
        values: Natural logarithms of wall times (or of wall times per entry) in run order; shape (n,).

    Attributes:
        resolution: The runs in a group; a step before the last 200 runs may be displaced by as many.
    """

    def __init__(self, values: Sequence[float]) -> None:
        self._first = max(0, len(values) - MOST_POINTS)
        self._recent = PiecewiseFit(values[self._first :])
        self.resolution = math.ceil(len(values) / MOST_POINTS) or 1
        # Groups end with the last run; what is left over at the start counts to the first one.
        starts = range(len(values) % self.resolution, len(values) - self.resolution + 1, self.resolution)
        self._starts = [0, *starts[1:]]
        groups = zip(self._starts, [*starts[1:], len(values)], strict=True)
        self._whole = PiecewiseFit([median(values[start:end]) for start, end in groups]) if self._first else None

    def steps(self) -> list[Step]:
        """Return the steps in run order."""
        recent = [replace(step, index=step.index + self._first) for step in self._recent.steps()]
        if self._whole is None:
            return recent
        whole = [replace(step, index=self._starts[step.index]) for step in self._whole.steps()]
        # A step at the seam is seen by both; only the whole knows what was before it.
        seam = self._first + 2 * self.resolution
        earlier = [step for step in whole if step.index < seam]
        return earlier + [step for step in recent if step.index >= seam]

    def rise(self, since: int = 0) -> Rise | None:
        """Return how far the end lies above the lowest level from run *since* on; None if no level changed."""
        recent = self._recent.rise(max(0, since - self._first))
        if recent is not None:
            recent = replace(recent, index=recent.index + self._first)
        if self._whole is None or since >= self._first:
            return recent
        group = next(place for place in range(len(self._starts)) if self._end(place) > since)
        whole = self._whole.rise(group)
        if whole is not None:
            whole = replace(whole, index=self._starts[whole.index])
        if recent is None or whole is None:
            return recent or whole
        return _join(whole, recent)

    def _end(self, place: int) -> int:
        return self._starts[place + 1] if place + 1 < len(self._starts) else self._first + MOST_POINTS


class Movement(NamedTuple):
    """The steps of a series, how far its end lies above its lowest level, and the resolution of both."""

    resolution: int
    steps: Sequence[Step]
    rise: Rise | None


# The search takes tenths of a second; the web server answers several questions about the same series.
@lru_cache(maxsize=64)
def find_movement(values: tuple[float, ...], since: int = 0) -> Movement:
    """Find the steps of a series, and its rise from run *since* on; recent answers are kept."""
    course = PiecewiseTrend(values)
    return Movement(course.resolution, course.steps(), course.rise(since))


def _join(whole: Rise, recent: Rise) -> Rise:
    """Return the rise from the lowest level of all to the end of the last runs."""
    if recent.lowest <= whole.lowest:
        return recent
    size = recent.latest - whole.lowest
    error = math.hypot(*(math.log(one.ratio.high / one.ratio.low) / 2 for one in (whole, recent)))
    shape, index = recent.shape, recent.index
    if Rising.DRIFT in {whole.shape, recent.shape} or recent.ratio.estimate <= 1:
        shape, index = whole.shape, whole.index
    elif whole.index < recent.index - _SAME:
        shape = Rising.STEPS
    return Rise(
        index=index,
        lowest=whole.lowest,
        latest=recent.latest,
        ratio=Interval(estimate=math.exp(size), low=math.exp(size - error), high=math.exp(size + error)),
        shape=shape,
    )
