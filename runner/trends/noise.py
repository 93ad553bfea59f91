"""Noise models: how timings scatter around their level, and how likely a series is under each model.

The noise of a series is the sum of an AR(1) process, the background, and independent scatter. Such a sum is an
ARMA(1, 1) process, y[t] = phi y[t-1] + e[t] - theta e[t-1] with 0 <= theta <= phi: theta = phi is scatter alone,
theta = 0 is background alone.

Source:
    Box, Jenkins & Reinsel, Time Series Analysis (1994), section 3.4 and appendix A4.3.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate, pairwise
from operator import mul

# Timings that agree to a millionth are equal for every purpose; it also keeps the logarithm of a perfect fit finite.
RESOLUTION = 1e-6
# Each halves the error of the scale.
_EM_ROUNDS = 8


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Noise:
    """One noise model, equal to none but itself.

    Attributes:
        phi: Autoregressive coefficient, the share of the background that remains in the next run; 0 <= phi < 1.
        theta: Moving-average coefficient; the closer to phi, the more of the noise is scatter; 0 <= theta <= phi.
    """

    phi: float
    theta: float

    @property
    def deviation(self) -> float:
        """Standard deviation of one run, in units of the innovations' standard deviation."""
        return math.sqrt(1 + (self.phi - self.theta) ** 2 / (1 - self.phi**2))

    @property
    def memory(self) -> float:
        """How many runs carry as much information about the level as one independent run; >= 1."""
        return ((1 - self.theta) / (1 - self.phi) / self.deviation) ** 2


# Between two neighbours on this grid the likelihood is hardly higher. Where theta is close to phi, only backgrounds
# that change slowly differ from scatter: the number of values of theta / phi depends on phi.
_N_SHARES = {0.3: 3, 0.5: 3, 0.65: 3, 0.8: 4, 0.9: 4, 0.95: 4}
_GRID = {
    (row, column): Noise(phi=phi, theta=phi * share)
    for row, phi in enumerate(_N_SHARES)
    for column, share in enumerate((0, 0.4, 0.7, 0.9)[: _N_SHARES[phi]])
}
WHITE = Noise(phi=0, theta=0)
MODELS = (WHITE, *_GRID.values())
# Every second model. The best one of all is a neighbour of the best of these.
COARSE_MODELS = (WHITE, *(noise for (row, column), noise in _GRID.items() if row % 2 and column % 2 == 0))


@cache
def neighbours(noise: Noise) -> tuple[Noise, ...]:
    """Return the model and its neighbours on the grid; white noise neighbours the models closest to it."""
    if noise == WHITE:
        return (noise, *(other for place, other in _GRID.items() if _is_nearly_white(*place)))
    at = next(place for place, other in _GRID.items() if other == noise)
    close = [other for (row, column), other in _GRID.items() if abs(row - at[0]) + abs(column - at[1]) <= 1]
    return (*close, WHITE) if _is_nearly_white(*at) else tuple(close)


def _is_nearly_white(row: int, column: int) -> bool:
    return row == 0 or (row, column + 1) not in _GRID


@dataclass(frozen=True, slots=True)
class Response:
    """A step and a slope change after whitening, each of shape (n,).

    Attributes:
        lasting: The value that the step approaches.
        step: The step, from its first run on.
        decay: Powers of theta.
        slope: The slope change, whose first run lies one unit above the line.
        step_squares: Sums of squares of the first 1, 2, … n values of ``step``.
        slope_squares: Sums of squares of the first 1, 2, … n values of ``slope``.
    """

    lasting: float
    step: list[float]
    decay: list[float]
    slope: list[float]
    step_squares: list[float]
    slope_squares: list[float]

    def product(self, apart: int, runs: int) -> float:
        """Return the inner product of two steps, one of which lasts *runs* runs, and the other *apart* runs longer."""
        steady = self.lasting * self.slope[runs - 1]
        return steady + self.decay[apart] * (self.step_squares[runs - 1] - steady)


@lru_cache(maxsize=128)
def response(noise: Noise, n: int) -> Response:
    """Compute the whitened step and slope change of n runs."""
    lasting = (1 - noise.phi) / (1 - noise.theta)
    decay = [noise.theta**k for k in range(n)]
    step = [lasting + (1 - lasting) * power for power in decay]
    slope = list(accumulate(step))
    squares = (list(accumulate(map(mul, each, each))) for each in (step, slope))
    return Response(lasting, step, decay, slope, *squares)


def log_likelihood(squares: float, n: int, noise: Noise) -> float:
    """Return twice the log-likelihood, up to a constant of n, of n runs whose innovations have this sum of squares."""
    return -n * math.log(max(0.0, squares) / n + RESOLUTION**2) - 2 * math.log(noise.deviation)


def heavy_log_likelihood(innovations: Sequence[float], noise: Noise) -> float:
    """Return the same where the innovations have the heavy tails of Student's distribution with 3 degrees of freedom.

    Source:
        Lange, Little & Taylor, Journal of the American Statistical Association 84 (1989) 881: EM for the scale.
    """
    n = len(innovations)
    squares = [value * value for value in innovations]
    scale = sum(squares) / n + RESOLUTION**2
    for _ in range(_EM_ROUNDS):
        scale = sum(4 * square / (3 + square / scale) for square in squares) / n + RESOLUTION**2
    tails = 4 * sum(math.log1p(square / scale / 3) for square in squares)
    return n * math.log(8 * math.e / 3 / math.pi / scale) - tails - 2 * math.log(noise.deviation)


def whiten(values: Sequence[float], noise: Noise) -> list[float]:
    """Return the innovations of *values*: if these are noise of this model, the innovations are independent.

    The innovations before the first run are taken as zero, which is exact for theta = 0.
    """
    phi, theta = noise.phi, noise.theta
    if phi == 0:
        return list(values)
    last = values[0]
    later = [last := value - phi * before + theta * last for before, value in pairwise(values)]
    return [values[0] / noise.deviation, *later]


def step_products(innovations: Sequence[float], noise: Noise) -> list[float]:
    """Compute the inner products with the whitened steps that begin 1, 2, … n runs before the end."""
    if noise.phi == 0:
        return list(accumulate(reversed(innovations)))
    theta = noise.theta
    lasting = (1 - noise.phi) / (1 - theta)
    rest = 1 - lasting
    total = fading = 0.0
    return [
        lasting * (total := total + value) + rest * (fading := value + theta * fading)
        for value in reversed(innovations)
    ]


def dot(left: Iterable[float], right: Iterable[float]) -> float:
    """Return the inner product."""
    total: float = sum(map(mul, left, right))
    return total


def subtract(values: Sequence[float], factors: Sequence[float], columns: Sequence[Sequence[float]]) -> Sequence[float]:
    """Return *values* minus the columns, each times its factor."""
    if len(factors) % 2:
        factor = factors[-1]
        values = [value - factor * less for value, less in zip(values, columns[-1], strict=True)]
    # Two columns at a time take two thirds of the time.
    for place in range(1, len(factors), 2):
        (first, one), (second, two) = zip(factors[place - 1 : place + 1], columns[place - 1 : place + 1], strict=True)
        values = [value - first * a - second * b for value, a, b in zip(values, one, two, strict=True)]
    return values
