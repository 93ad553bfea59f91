"""How timings scatter around their level: noise that wanders, its likelihood, and what a step would explain of it.

The noise of a series is a background that forgets itself by a constant factor from run to run, seen through a scatter
that is new in every run. Between the two extremes, scatter alone and background alone, lie the timers of real machines.
Such a sum is an ARMA(1, 1) process, y[t] = phi y[t-1] + e[t] - theta e[t-1] with 0 <= theta <= phi: theta = phi is
scatter alone, theta = 0 background alone.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import add, mul

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


# A grid fine enough that the likelihood between two neighbours is hardly higher. Where theta comes close to phi, only
# slow backgrounds differ from scatter alone.
MODELS = (
    Noise(phi=0, theta=0),
    *(Noise(phi=phi, theta=phi * share) for phi in (0.3, 0.5, 0.65, 0.8, 0.9, 0.96, 0.99) for share in (0, 0.4, 0.7)),
    *(Noise(phi=phi, theta=phi * 0.9) for phi in (0.8, 0.9, 0.96, 0.99)),
    Noise(phi=0.99, theta=0.96),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """A series explained by known shapes (a constant, steps, waves) and one kind of noise.

    Attributes:
        noise: The kind of noise.
        residuals: What the shapes leave over, whitened: the innovations; shape (n,).
        basis: The whitened shapes, made orthogonal and of length one; each of shape (n,).
        likelihood: Twice the logarithm of the likelihood, up to a constant of n alone.
    """

    noise: Noise
    residuals: list[float]
    basis: list[list[float]]
    likelihood: float


def fit(values: Sequence[float], shapes: Iterable[Sequence[float]], noise: Noise) -> Fit:
    """Explain *values* by *shapes* under one kind of noise, by generalised least squares.

    Args:
        values: Numbers in run order; shape (n,), n >= 2.
        shapes: Each of shape (n,), none a sum of the others.
        noise: The kind of noise, whose size is estimated.

    Source:
        Hamilton, Time Series Analysis (1994), sections 5.6 and 8.3.
    """
    basis: list[list[float]] = []
    for shape in shapes:
        left = _without(whiten(shape, noise), basis)
        length = math.sqrt(dot(left, left))
        basis.append([value / length for value in left])
    residuals = _without(whiten(values, noise), basis)
    return Fit(
        noise=noise,
        residuals=residuals,
        basis=basis,
        likelihood=likelihood(dot(residuals, residuals), len(values), noise),
    )


def effect(
    values: Sequence[float], shapes: Iterable[Sequence[float]], shape: Sequence[float], noise: Noise
) -> tuple[float, float]:
    """Estimate how much of *shape* is in *values* beside *shapes*.

    Args:
        values: Numbers in run order; shape (n,).
        shapes: What else explains them, each of shape (n,); together with *shape* fewer than n.
        shape: What is measured; shape (n,).
        noise: The kind of noise, whose size is estimated.

    Returns:
        The factor of *shape* and its standard error, in the unit of *values*.
    """
    beside = fit(values, shapes, noise)
    left = _without(whiten(shape, noise), beside.basis)
    length = dot(left, left)
    factor = dot(beside.residuals, left) / length
    squares = dot(beside.residuals, beside.residuals) - factor**2 * length
    return factor, math.sqrt(max(0.0, squares) / (len(values) - len(beside.basis) - 1) / length)


def likelihood(squares: float, n: int, noise: Noise) -> float:
    """Give twice the log-likelihood, up to a constant of n, of n runs whose innovations have this sum of squares."""
    return -n * math.log(squares / n + FINEST**2) - 2 * math.log(noise.start)


def whiten(values: Sequence[float], noise: Noise) -> list[float]:
    """Turn noise of this kind into its independent innovations; shapes are bent the same way."""
    phi, theta = noise.phi, noise.theta
    if phi == 0:
        return list(values)
    fresh = [value - phi * before for before, value in pairwise(values)]
    innovations = list(accumulate(fresh, lambda e, value: value + theta * e, initial=values[0]))
    innovations[0] /= noise.start
    return innovations


def step_gains(found: Fit) -> list[float]:
    """Tell by how much a step would shrink the sum of squared innovations, for each place it could begin.

    A step beginning m runs before the end is whitened to the last m places of one and the same response, so that all
    places are tried in one pass from the end to the start.

    Returns:
        The gains for steps beginning 1, 2, … n runs before the end; zero where the shapes already hold that step.
    """
    noise, n = found.noise, len(found.residuals)
    lasting = (1 - noise.phi) / (1 - noise.theta)
    response = [lasting + (1 - lasting) * noise.theta**k for k in range(n)]
    squares = list(accumulate(map(mul, response, response)))
    left = list(squares)
    for shape in found.basis:
        left = [rest - product * product for rest, product in zip(left, _step_products(shape, noise), strict=True)]
    return [
        product * product / rest if rest > 1e-6 * whole else 0.0
        for product, rest, whole in zip(_step_products(found.residuals, noise), left, squares, strict=True)
    ]


def dot(left: Iterable[float], right: Iterable[float]) -> float:
    """Sum the products."""
    total: float = sum(map(mul, left, right))
    return total


def _step_products(values: Sequence[float], noise: Noise) -> list[float]:
    """Multiply *values* with the whitened step that begins 1, 2, … n places before their end."""
    lasting = (1 - noise.phi) / (1 - noise.theta)
    if noise.phi == 0:
        return list(accumulate(reversed(values)))
    theta = noise.theta
    kept = accumulate(reversed(values))
    if theta == 0:
        fading: Iterable[float] = reversed(values)
    else:
        fading = accumulate(reversed(values), lambda total, value: value + theta * total)
    return [lasting * whole + (1 - lasting) * part for whole, part in zip(kept, fading, strict=True)]


def _without(values: list[float], basis: Iterable[Sequence[float]]) -> list[float]:
    for shape in basis:
        share = -dot(values, shape)
        values = list(map(add, values, [share * part for part in shape]))
    return values
