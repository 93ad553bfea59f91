"""What a series of timings may be the sum of: steps, bends and waves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from runner.trends.noise import Noise, respond, whiten


@dataclass(frozen=True, slots=True)
class Shift:
    """A level that changes for good with run *index*, counted from 0; 0 is the level of the whole series."""

    index: int


@dataclass(frozen=True, slots=True)
class Bend:
    """A slope that changes with run *index*, which is the first to lie off the line before; index >= 1."""

    index: int


@dataclass(frozen=True, slots=True)
class Wave:
    """One of the two shapes, cosine and sine, whose sums are all waves of one frequency.

    Attributes:
        turn: Angle from run to run, radians.
        phase: 0 for the cosine, 1 for the sine.
    """

    turn: float
    phase: int


@dataclass(frozen=True, slots=True)
class Sway:
    """What a little more frequency would add to a wave of known cosine and sine."""

    turn: float
    cosine: float
    sine: float


Shape = Shift | Bend | Wave | Sway
LEVEL = Shift(0)


def sample(shape: Shape, n: int) -> Sequence[float]:
    """Give the shape's values in n runs, shape (n,)."""
    match shape:
        case Shift(index):
            return [0.0] * index + [1.0] * (n - index)
        case Bend(index):
            return [0.0] * index + [float(place) for place in range(1, n - index + 1)]
        case Wave(turn, phase):
            return _wave(turn, phase, n)
        case Sway(turn, cosine, sine):
            # Counted from the middle, it is almost orthogonal to the wave itself.
            cosines, sines = (_wave(turn, phase, n) for phase in (0, 1))
            return [
                (place - n / 2) / n * (sine * c - cosine * s)
                for place, (c, s) in enumerate(zip(cosines, sines, strict=True))
            ]


def whiten_shape(shape: Shape, n: int, noise: Noise) -> list[float]:
    """Bend the shape as :func:`whiten` bends the values."""
    match shape:
        case Shift(0):
            response = respond(noise, n).step
            return [response[0] / noise.start, *response[1:]]
        case Shift(index):
            return [0.0] * index + respond(noise, n).step[: n - index]
        case Bend(index):
            return [0.0] * index + respond(noise, n).bend[: n - index]
        case Wave() | Sway():
            return whiten(sample(shape, n), noise)


@lru_cache(maxsize=2048)
def _wave(turn: float, phase: int, n: int) -> tuple[float, ...]:
    function = math.sin if phase else math.cos
    return tuple(function(turn * place) for place in range(n))


def waves(turn: float) -> tuple[Wave, Wave]:
    """Give the two shapes of one frequency."""
    return Wave(turn, 0), Wave(turn, 1)
