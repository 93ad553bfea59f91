"""Components of a series of timings: level shifts, slope changes and cycles."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class LevelShift:
    """A level that changes with run *index*, counted from 0; index 0 is the level of the whole series."""

    index: int


@dataclass(frozen=True, slots=True)
class SlopeChange:
    """A slope that changes with run *index*, the first run off the previous line; index >= 1."""

    index: int


@dataclass(frozen=True, slots=True)
class Harmonic:
    """The cosine or the sine of one frequency; a cycle is the sum of both.

    Attributes:
        frequency: Angle from run to run, radians.
        sine: Whether this is the sine.
    """

    frequency: float
    sine: bool


@dataclass(frozen=True, slots=True)
class FrequencyError:
    """The derivative by its frequency of the cycle ``cosine * cos + sine * sin``."""

    frequency: float
    cosine: float
    sine: float


Component = LevelShift | SlopeChange | Harmonic | FrequencyError
Change = LevelShift | SlopeChange
LEVEL = LevelShift(0)


def sample(component: Component, n: int) -> Sequence[float]:
    """Return the component's values in n runs, shape (n,)."""
    match component:
        case LevelShift(index):
            return [0.0] * index + [1.0] * (n - index)
        case SlopeChange(index):
            return [0.0] * index + [float(place) for place in range(1, n - index + 1)]
        case Harmonic(frequency, sine):
            return _harmonic(frequency, sine, n)
        case FrequencyError(frequency, cosine, sine):
            # Counted from the middle, it is almost orthogonal to the cycle itself.
            pairs = zip(_harmonic(frequency, False, n), _harmonic(frequency, True, n), strict=True)  # noqa: FBT003
            return [(place - n / 2) / n * (sine * c - cosine * s) for place, (c, s) in enumerate(pairs)]


@lru_cache(maxsize=2048)
def _harmonic(frequency: float, sine: bool, n: int) -> tuple[float, ...]:  # noqa: FBT001
    function = math.sin if sine else math.cos
    return tuple(function(frequency * place) for place in range(n))


def cycle(frequency: float) -> tuple[Harmonic, Harmonic]:
    """Return the two components of one frequency."""
    return Harmonic(frequency, sine=False), Harmonic(frequency, sine=True)
