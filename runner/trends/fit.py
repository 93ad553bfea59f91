"""A series explained by shapes and one kind of noise, by generalised least squares."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, repeat
from operator import add, mul, sub

from runner.trends.noise import Noise, dot, likelihood, respond, step_products, whiten
from runner.trends.shapes import Shape, sample, whiten_shape


@dataclass(frozen=True)
class Design:
    """Shapes as one kind of noise sees them in n runs, made orthogonal one after the other.

    Attributes:
        noise: The kind of noise.
        n: How many runs.
        before: The same without the last shape; None without any.
        shapes: The shapes.
        column: How the last one is made of the basis, its own vector last; shape (k,).
        vector: The last vector of the basis, orthogonal to those before and of length one; shape (n,).
    """

    noise: Noise
    n: int
    before: "Design | None" = None
    shapes: tuple[Shape, ...] = ()
    column: tuple[float, ...] = ()
    vector: Sequence[float] = ()

    @cached_property
    def basis(self) -> list[Sequence[float]]:
        """Give all vectors, in the order of the shapes."""
        return [*self.before.basis, self.vector] if self.before else []

    @cached_property
    def columns(self) -> list[tuple[float, ...]]:
        """Give how each shape is made of the basis."""
        return [*self.before.columns, self.column] if self.before else []

    @cached_property
    def left(self) -> tuple[Sequence[float], Sequence[float]]:
        """Give how much of a step, and of a bend, that 1, 2, … n runs feel is none of the shapes: squared lengths."""
        if self.before is None:
            response = respond(self.noise, self.n)
            return response.step_squares, response.bend_squares
        step, bend = self.before.left
        products = step_products(self.vector, self.noise)
        sums = list(accumulate(products))
        return list(map(sub, step, map(mul, products, products))), list(map(sub, bend, map(mul, sums, sums)))

    def extend(self, shape: Shape) -> "Design":
        """Add a shape, which is no sum of the others."""
        left = whiten_shape(shape, self.n, self.noise)
        column = []
        for vector in self.basis:
            column.append(dot(left, vector))
            left = list(map(add, left, map(mul, repeat(-column[-1]), vector)))
        length = math.sqrt(dot(left, left))
        return Design(
            self.noise,
            self.n,
            self,
            (*self.shapes, shape),
            (*column, length),
            list(map(mul, repeat(1 / length), left)),
        )


class Designs:
    """The designs of one length, each worked out once."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._known: dict[tuple[Noise, tuple[Shape, ...]], Design] = {}

    def get(self, noise: Noise, shapes: tuple[Shape, ...]) -> Design:
        """Give the design of these shapes."""
        known = self._known.get((noise, shapes))
        if known is None:
            known = self.get(noise, shapes[:-1]).extend(shapes[-1]) if shapes else Design(noise, self._n)
            self._known[noise, shapes] = known
        return known


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A series of n runs explained by k shapes.

    Attributes:
        design: The shapes and the noise.
        residuals: What the shapes leave over, whitened: the innovations; shape (n,).
        shares: How much of each basis vector is in the whitened series; shape (k,).
    """

    design: Design
    residuals: list[float]
    shares: list[float]

    @cached_property
    def squares(self) -> float:
        """Sum of squared innovations."""
        return dot(self.residuals, self.residuals)

    @property
    def likelihood(self) -> float:
        """Twice the logarithm of the likelihood, up to a constant of n alone."""
        return likelihood(self.squares, self.design.n, self.design.noise)

    @cached_property
    def factors(self) -> list[float]:
        """How much of each shape is in the series, in the unit of the values; shape (k,)."""
        columns = self.design.columns
        factors = [0.0] * len(columns)
        for row in reversed(range(len(columns))):
            known = sum(columns[later][row] * factors[later] for later in range(row + 1, len(columns)))
            factors[row] = (self.shares[row] - known) / columns[row][row]
        return factors

    def error(self, contrast: Sequence[float]) -> float:
        """Give the standard error of a sum of factors, each times its number in *contrast*."""
        solved: list[float] = []
        for column, wanted in zip(self.design.columns, contrast, strict=True):
            solved.append((wanted - dot(column, solved)) / column[-1])
        freedom = self.design.n - len(solved)
        return math.sqrt(self.squares / freedom * dot(solved, solved))

    def left_over(self, values: Sequence[float]) -> list[float]:
        """Give the values less what the shapes explain, not whitened."""
        left = list(values)
        for factor, shape in zip(self.factors, self.design.shapes, strict=True):
            left = list(map(sub, left, map(mul, repeat(factor), sample(shape, len(left)))))
        return left

    def gains(self) -> tuple[list[float], list[float]]:
        """Tell by how much one more step, or bend, would shrink the sum of squares, for each place it could begin.

        A step beginning m runs before the end is whitened to the last m places of one and the same response, and a bend
        is the sum of the steps from its beginning on, so that all places are tried in one pass from the end to the
        start.

        Returns:
            The gains for steps, and for bends, beginning 1, 2, … n runs before the end; zero where the shapes already
            hold it.
        """
        response = respond(self.design.noise, self.design.n)
        products = step_products(self.residuals, self.design.noise)
        step_left, bend_left = self.design.left
        return _ratios(products, step_left, response.step_squares), _ratios(
            accumulate(products), bend_left, response.bend_squares
        )


def _ratios(products: Iterable[float], left: Sequence[float], whole: Sequence[float]) -> list[float]:
    return [
        product * product / rest if rest > 1e-6 * most else 0.0
        for product, rest, most in zip(products, left, whole, strict=True)
    ]


def fit(values: Sequence[float], design: Design) -> Fit:
    """Explain *values* by the shapes of a design; the size of its noise is estimated.

    Args:
        values: Numbers in run order; shape (n,), n >= 2.
        design: Of less than n shapes.

    Source:
        Hamilton, Time Series Analysis (1994), sections 5.6 and 8.3.
    """
    left = whiten(values, design.noise)
    shares = []
    for vector in design.basis:
        shares.append(dot(left, vector))
        left = list(map(add, left, map(mul, repeat(-shares[-1]), vector)))
    return Fit(design=design, residuals=left, shares=shares)
