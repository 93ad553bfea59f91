"""How timings scatter around their level: noise that wanders, and its likelihood.

The noise of a series is a background that forgets itself by a constant factor from run to run, seen through a scatter
that is new in every run. Between the two extremes, scatter alone and background alone, lie the timers of real machines.
Such a sum is an ARMA(1, 1) process, y[t] = phi y[t-1] + e[t] - theta e[t-1] with 0 <= theta <= phi: theta = phi is
scatter alone, theta = 0 background alone.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate, repeat
from operator import add, mul, sub

# Timings that agree to a millionth are equal for every purpose; it also keeps the logarithm of a perfect fit finite.
FINEST = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """One way to scatter.

    Attributes:
        phi: How much of the background is left in the next run; 0 <= phi < 1.
        theta: phi, less the more of the whole is background; 0 <= theta <= phi.
    """

    phi: float
    theta: float

    @property
    def start(self) -> float:
        """Standard deviation of the first run, before which nothing is known, in units of the innovations'."""
        return math.sqrt(1 + (self.phi - self.theta) ** 2 / (1 - self.phi**2))

    @property
    def memory(self) -> float:
        """How many runs tell as much about the level as one would without a background; >= 1."""
        return ((1 - self.theta) / (1 - self.phi) / self.start) ** 2


# A grid fine enough that the likelihood between two neighbours is hardly higher: by how much is left in the next run,
# and by how much of it is scatter. Where theta comes close to phi, only slow backgrounds differ from scatter alone.
_SHARES = {0.3: 3, 0.5: 3, 0.65: 3, 0.8: 4, 0.9: 4, 0.95: 4}
_GRID = {
    (row, column): Noise(phi=phi, theta=phi * share)
    for row, phi in enumerate(_SHARES)
    for column, share in enumerate((0, 0.4, 0.7, 0.9)[: _SHARES[phi]])
}
SCATTER = Noise(phi=0, theta=0)
MODELS = (SCATTER, *_GRID.values())
# Every second one of them; the best is then looked for among the neighbours of the best of these.
COARSE = (SCATTER, *(noise for (row, column), noise in _GRID.items() if row % 2 and column % 2 == 0))


@cache
def near(noise: Noise) -> tuple[Noise, ...]:
    """Give the noise itself and its neighbours on the grid; scatter alone neighbours what forgets soonest."""
    if noise == SCATTER:
        return (noise, *(each for (row, column), each in _GRID.items() if row == 0 or _SHARES[each.phi] == column + 1))
    at = next(place for place, each in _GRID.items() if each == noise)
    close = [each for (row, column), each in _GRID.items() if max(abs(row - at[0]), abs(column - at[1])) <= 1]
    return (*close, SCATTER) if at[0] == 0 or _SHARES[noise.phi] == at[1] + 1 else tuple(close)


@dataclass(frozen=True, slots=True)
class Response:
    """What noise of one kind makes of a step and of a bend, both whitened; each of shape (n,).

    Attributes:
        step: A step from its first run on.
        bend: The same for a bend, whose first run lies one unit above the line.
        step_squares: Sums of squares of the first 1, 2, … n of ``step``.
        bend_squares: Sums of squares of the first 1, 2, … n of ``bend``.
    """

    step: list[float]
    bend: list[float]
    step_squares: list[float]
    bend_squares: list[float]


@lru_cache(maxsize=256)
def respond(noise: Noise, n: int) -> Response:
    """Give what noise of this kind makes of a step and of a bend that n runs feel."""
    lasting = (1 - noise.phi) / (1 - noise.theta)
    step = [lasting + (1 - lasting) * noise.theta**k for k in range(n)]
    bend = list(accumulate(step))
    return Response(step, bend, list(accumulate(map(mul, step, step))), list(accumulate(map(mul, bend, bend))))


def likelihood(squares: float, n: int, noise: Noise) -> float:
    """Give twice the log-likelihood, up to a constant of n, of n runs whose innovations have this sum of squares."""
    return -n * math.log(squares / n + FINEST**2) - 2 * math.log(noise.start)


def whiten(values: Sequence[float], noise: Noise) -> list[float]:
    """Turn noise of this kind into its independent innovations; shapes are bent the same way."""
    phi, theta = noise.phi, noise.theta
    if phi == 0:
        return list(values)
    innovations = list(values[:1]) + list(map(sub, values[1:], map(mul, repeat(phi), values)))
    if theta:
        innovations = list(accumulate(innovations, lambda e, value: value + theta * e))
    innovations[0] /= noise.start
    return innovations


def step_products(values: Sequence[float], noise: Noise) -> list[float]:
    """Multiply *values* with the whitened step that begins 1, 2, … n places before their end."""
    lasting = (1 - noise.phi) / (1 - noise.theta)
    kept = list(accumulate(reversed(values)))
    if noise.phi == 0:
        return kept
    theta = noise.theta
    fading: Iterable[float] = reversed(values)
    if theta:
        fading = accumulate(fading, lambda total, value: value + theta * total)
    return list(map(add, map(mul, repeat(lasting), kept), map(mul, repeat(1 - lasting), fading)))


def dot(left: Iterable[float], right: Iterable[float]) -> float:
    """Sum the products."""
    total: float = sum(map(mul, left, right))
    return total


def without(values: list[float], basis: Iterable[Sequence[float]]) -> list[float]:
    """Take from *values* what each of the orthonormal vectors explains."""
    for vector in basis:
        values = list(map(add, values, map(mul, repeat(-dot(values, vector)), vector)))
    return values
