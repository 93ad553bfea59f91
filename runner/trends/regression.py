"""Generalised least squares: a series as a sum of components under one noise model.

All quantities come from inner products of whitened columns. A level shift that begins m runs before the end is whitened
to the first m values of one and the same response, and a slope change is the sum of the level shifts from its first run
on. So one pass over a column yields its inner products with all of them.

Source:
    Hamilton, Time Series Analysis (1994), sections 5.6 and 8.3.
"""

import cmath
import math
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate
from operator import attrgetter

from runner.trends.components import LEVEL, Component, Harmonic, LevelShift, SlopeChange, cycle, sample
from runner.trends.noise import (
    COARSE_MODELS,
    WHITE,
    Noise,
    dot,
    heavy_log_likelihood,
    log_likelihood,
    neighbours,
    response,
    step_products,
    subtract,
    whiten,
)

# A column of which the others leave less than this share is taken as a sum of them.
_DEPENDENT = 1e-9


class Column:
    """Whitened values and their inner products with every level shift and slope change.

    Attributes:
        values: The whitened values; shape (n,).
        noise: The noise model.
        component: The component whose values they are; None for a series.
    """

    def __init__(self, values: list[float], noise: Noise, component: Component | None = None) -> None:
        self.values = values
        self.noise = noise
        self.component = component
        self._products: dict[Component | None, float] = {}

    def product(self, other: "Column") -> float:
        """Return the inner product with another column."""
        own, component = self.component, other.component
        if isinstance(component, SlopeChange):
            return self.slopes[-1 - component.index]
        if isinstance(component, LevelShift):
            if isinstance(own, LevelShift):
                late = max(own.index, component.index)
                if late:
                    apart = abs(own.index - component.index)
                    return response(self.noise, len(self.values)).product(apart, len(self.values) - late)
            elif component.index:
                return self.steps[-1 - component.index]
        product = self._products.get(component)
        if product is None:
            product = self._products[component] = dot(self.values, other.values)
        return product

    @cached_property
    def steps(self) -> list[float]:
        """Inner products with level shifts that begin 1, 2, … n runs before the end."""
        return step_products(self.values, self.noise)

    @cached_property
    def slopes(self) -> list[float]:
        """Inner products with slope changes that begin 1, 2, … n runs before the end."""
        return list(accumulate(self.steps))

    @cached_property
    def squares(self) -> float:
        """Sum of squares."""
        return self.product(self)


class Design:
    """Components under one noise model, with the Cholesky factor of their normal equations.

    Attributes:
        noise: The noise model.
        n: The number of runs.
        components: The k components.
        columns: Their whitened columns.
        rows: The lower triangle of the Cholesky factor, row by row.
    """

    def __init__(self, noise: Noise, n: int, before: "Design | None" = None) -> None:
        self.noise = noise
        self.n = n
        self._before = before
        self.components: tuple[Component, ...] = before.components if before else ()
        self.columns: tuple[Column, ...] = before.columns if before else ()
        self.rows: tuple[list[float], ...] = before.rows if before else ()

    def extend(self, component: Component, column: Column) -> "Design":
        """Return the design with one more component."""
        row = self.solve(column)
        rest = column.squares - dot(row, row)
        # A component that is a sum of the others explains nothing more.
        row.append(math.sqrt(rest) if rest > _DEPENDENT * column.squares else math.inf)
        design = Design(self.noise, self.n, self)
        design.components += (component,)
        design.columns += (column,)
        design.rows += (row,)
        return design

    def solve(self, column: Column, known: Sequence[float] = ()) -> list[float]:
        """Return how much of each orthonormalised component is in a column, of which some are known; shape (k,)."""
        parts = list(known)
        for own, row in zip(self.columns[len(known) :], self.rows[len(known) :], strict=True):
            parts.append((column.product(own) - dot(row, parts)) / row[-1])
        return parts

    @cached_property
    def steps(self) -> list[list[float]]:
        """Inner products of each orthonormalised component with all level shifts; shape (k, n)."""
        if self._before is None:
            return []
        earlier = self._before.steps
        *factors, length = self.rows[-1]
        last = subtract(self.columns[-1].steps, factors, earlier)
        return [*earlier, [product / length for product in last]]

    @cached_property
    def unexplained_steps(self) -> Sequence[float]:
        """Squared lengths of what the components leave of each level shift."""
        if self._before is None:
            return response(self.noise, self.n).step_squares
        return _without(self._before.unexplained_steps, self.steps[-1])

    @cached_property
    def unexplained_slopes(self) -> Sequence[float]:
        """Squared lengths of what the components leave of each slope change."""
        if self._before is None:
            return response(self.noise, self.n).slope_squares
        return _without(self._before.unexplained_slopes, accumulate(self.steps[-1]))


def _without(squares: Sequence[float], products: Iterable[float]) -> list[float]:
    return [left - product * product for left, product in zip(squares, products, strict=True)]


def whiten_component(component: Component, n: int, noise: Noise) -> list[float]:
    """Return the whitened column of a component."""
    whole = response(noise, n)
    if component == LEVEL:
        return [1 / noise.deviation, *whole.step[1:]]
    if isinstance(component, LevelShift):
        return [0.0] * component.index + whole.step[: n - component.index]
    if isinstance(component, SlopeChange):
        return [0.0] * component.index + whole.slope[: n - component.index]
    return whiten(sample(component, n), noise)


@lru_cache(maxsize=512)
def _harmonic_column(component: Harmonic, n: int, noise: Noise) -> Column:
    """Return the column of a harmonic, the same for all series: the filtered harmonic and a transient that decays."""
    delay = cmath.exp(-1j * component.frequency)
    factor = (1 - noise.phi * delay) / (1 - noise.theta * delay)
    cosine, sine = (sample(one, n) for one in cycle(component.frequency))
    own, other, sign = (sine, cosine, 1) if component.sine else (cosine, sine, -1)
    real, imag = factor.real, sign * factor.imag
    first = own[0] - real * own[0] - imag * other[0]
    columns = zip(own, other, response(noise, n).decay, strict=True)
    whitened = [real * here + imag * there + first * decay for here, there, decay in columns]
    whitened[0] = own[0] / noise.deviation
    return Column(whitened, noise, component)


@lru_cache(maxsize=128)
def _level_design(noise: Noise, n: int) -> Design:
    return Design(noise, n).extend(LEVEL, Column(whiten_component(LEVEL, n, noise), noise, LEVEL))


@lru_cache(maxsize=256)
def cycle_design(frequency: float, n: int) -> Design:
    """Return the design of a level and a cycle in n runs of white noise, computed once for all series."""
    design = _level_design(WHITE, n)
    for one in cycle(frequency):
        design = design.extend(one, _harmonic_column(one, n, WHITE))
    return design


class Designs:
    """The designs of n runs, each computed once."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._columns: dict[tuple[Noise, Component], Column] = {}
        self._designs: dict[tuple[Design, Component], Design] = {}

    def extend(self, before: Design, component: Component) -> Design:
        """Return the design with one more component."""
        design = self._designs.get((before, component))
        if design is None:
            column = self._column(before.noise, component)
            design = self._designs[before, component] = before.extend(component, column)
        return design

    def _column(self, noise: Noise, component: Component) -> Column:
        if isinstance(component, Harmonic):
            return _harmonic_column(component, self._n, noise)
        column = self._columns.get((noise, component))
        if column is None:
            column = Column(whiten_component(component, self._n, noise), noise, component)
            self._columns[noise, component] = column
        return column


class Series:
    """The values of n runs, whitened once for each noise model."""

    def __init__(self, values: Sequence[float], designs: Designs) -> None:
        self.values = values
        self.designs = designs
        self._fits: dict[Noise, Fit] = {}

    def fit(self, components: tuple[Component, ...], noise: Noise) -> "Fit":
        """Fit the components under one noise model, whose size is estimated."""
        fit = self._fits.get(noise)
        if fit is None:
            design = _level_design(noise, len(self.values))
            fit = self._fits[noise] = Fit(design, Column(whiten(self.values, noise), noise))
        for component in components[1:]:
            longer = fit.longer.get(component)
            if longer is None:
                design = self.designs.extend(fit.design, component)
                longer = fit.longer[component] = Fit(design, fit.column, fit.parts)
            fit = longer
        return fit

    def best_fit(self, components: tuple[Component, ...]) -> "Fit":
        """Return the fit under the noise model that makes the series likeliest."""
        models: Iterable[Noise] = COARSE_MODELS
        best = self.fit(components, WHITE)
        while True:
            better = max((self.fit(components, noise) for noise in models), key=attrgetter("likelihood"))
            if better.likelihood <= best.likelihood and models is not COARSE_MODELS:
                return best
            best, models = better, neighbours(better.design.noise)


class Fit:
    """A series of n runs explained by k components.

    Attributes:
        design: The components and the noise model.
        column: The whitened series.
        parts: How much of each orthonormalised component is in the series; shape (k,).
        longer: Known fits with one more component.
    """

    def __init__(self, design: Design, column: Column, known: Sequence[float] = ()) -> None:
        self.design = design
        self.column = column
        self.parts = design.solve(column, known)
        self.longer: dict[Component, Fit] = {}

    @cached_property
    def squares(self) -> float:
        """Sum of squared innovations."""
        return self.column.squares - dot(self.parts, self.parts)

    @cached_property
    def likelihood(self) -> float:
        """Twice the log-likelihood, up to a constant of n alone."""
        return log_likelihood(self.squares, self.design.n, self.design.noise)

    @cached_property
    def tails(self) -> float:
        """By how much heavy tails of the noise raise twice the log-likelihood."""
        return heavy_log_likelihood(self.innovations(), self.design.noise) - self.likelihood

    @cached_property
    def coefficients(self) -> list[float]:
        """How much of each component is in the series, in the unit of the values; shape (k,)."""
        rows = self.design.rows
        coefficients = [0.0] * len(rows)
        for place in reversed(range(len(rows))):
            known = sum(rows[later][place] * coefficients[later] for later in range(place + 1, len(rows)))
            coefficients[place] = (self.parts[place] - known) / rows[place][place]
        return coefficients

    def standard_error(self, contrast: Sequence[float]) -> float:
        """Return the standard error of the sum of coefficients, each times its number in *contrast*."""
        solved: list[float] = []
        for row, wanted in zip(self.design.rows, contrast, strict=True):
            solved.append((wanted - dot(row, solved)) / row[-1])
        return math.sqrt(max(0.0, self.squares) / (self.design.n - len(solved)) * dot(solved, solved))

    def innovations(self) -> Sequence[float]:
        """Return the whitened residuals."""
        return subtract(self.column.values, self.coefficients, [column.values for column in self.design.columns])

    def residuals(self, values: Sequence[float]) -> Sequence[float]:
        """Return the values less what the components explain, not whitened."""
        columns = [sample(component, len(values)) for component in self.design.components]
        return subtract(values, self.coefficients, columns)

    def gains(self, kind: type[Component]) -> list[float]:
        """Compute by how much one more component would reduce the sum of squares, for each place it could begin.

        Returns:
            The gains of level shifts or slope changes that begin 1, 2, … n runs before the end; zero where the
            components already explain it.
        """
        whole = response(self.design.noise, self.design.n)
        if kind is LevelShift:
            return _ratios(self._step_products, self.design.unexplained_steps, whole.step_squares)
        return _ratios(accumulate(self._step_products), self.design.unexplained_slopes, whole.slope_squares)

    @cached_property
    def _step_products(self) -> Sequence[float]:
        return subtract(self.column.steps, self.parts, self.design.steps)


def _ratios(products: Iterable[float], unexplained: Sequence[float], whole: Sequence[float]) -> list[float]:
    return [
        product * product / rest if rest > 1e-6 * most else 0.0
        for product, rest, most in zip(products, unexplained, whole, strict=True)
    ]
