"""Steps and rises of a series of timings, apart from its noise and its cycles."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from operator import add, attrgetter, mul, sub
from statistics import NormalDist, fmean, median

from runner.trends.compare import Interval
from runner.trends.components import Component, FrequencyError, Harmonic, LevelShift, SlopeChange, sample
from runner.trends.noise import MODELS, Noise, neighbours
from runner.trends.regression import Designs, Fit, Series
from runner.trends.search import explain
from runner.trends.survey import SHORTEST_LEVEL

# Shorter series are never judged.
FEWEST = 12

# Outliers are limited to 3.5 standard deviations from the median of the seven runs around them. Beyond 5 they count as
# this median. A step of two or three runs is left alone.
_LIMIT = 3.5
_SPIKE = 5.0
_MEDIAN_RUNS = 7
# The standard deviation is estimated from the runs around, as the noise may grow.
_SCALE_RUNS = 41
# Noise whose standard deviation differs by less than this factor counts as even.
_UNEVEN = 3.0
# From the median absolute deviation to the standard deviation; the running median lies 10 % closer than the level does.
_TO_DEVIATION = 1.1 / NormalDist().inv_cdf(0.75)

# An interval spans the estimates under all noise models whose log-likelihood, doubled, is this close to the best.
_LIKELY = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One lasting change of level.

    Attributes:
        index: The first run at the new level, counted from 0.
        before: Median from the step before (or the start) up to this one, natural-log units.
        after: Median from this step up to the next one (or the end), natural-log units.
        ratio: The new level over the old one and its bounds, dimensionless: 1.22 where runs take 22 % longer. Unlike
            the two medians it allows for cycles, slopes and noise with a memory.
        gain: What the step gains in twice the log-likelihood.
    """

    index: int
    before: float
    after: float
    ratio: Interval
    gain: float


class Rising(StrEnum):
    """How a series rose above its lowest level."""

    STEP = "one step"
    STEPS = "several steps"
    DRIFT = "drift"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rise:
    """The latest level of a series, at its end, above the lowest one before it.

    Attributes:
        index: The first run of the latest level, or of the drift, counted from 0.
        lowest: The lowest earlier level, natural-log units.
        latest: The level at the end, natural-log units.
        ratio: The latest level over the lowest one, with its bounds, dimensionless.
        shape: How the series rose.
    """

    index: int
    lowest: float
    latest: float
    ratio: Interval
    shape: Rising


class PiecewiseFit:
    """The steps and slopes of a series of up to a few hundred runs.

    Steps, slope changes, regular cycles and noise with a memory (see :mod:`runner.trends.noise`) compete as
    explanations of every change. The search adds the component that makes the series likeliest, as long as it gains
    enough over noise alone; the noise is estimated again with and without it. Outliers count as their neighbours do.

    Args:
        values: Natural logarithms of wall times (or of wall times per entry) in run order; shape (n,). Series of
            fewer than 12 runs have no steps.
        confidence: Probability that an interval covers the true ratio, dimensionless, 0 < confidence < 1.

    Raises:
        ValueError: If the confidence is no probability or a number is not finite.

    Source:
        Likelihood-ratio test for a change at an unknown place: Andrews, Econometrica 61 (1993) 821. The thresholds are
        simulated.
    """

    def __init__(self, values: Sequence[float], confidence: float = 0.95) -> None:
        if not 0 < confidence < 1:
            raise ValueError(f"the confidence {confidence} does not lie between 0 and 1")
        if not all(map(math.isfinite, values)):
            raise ValueError("only finite numbers can be searched for steps")
        self._values = values
        self._probability = (1 + confidence) / 2
        self._gains: dict[int, float] = {}
        self._fits: list[Fit] = []
        self._other_fits: list[Fit] = []
        if len(values) < FEWEST:
            return
        cleaned, scales = _limit_outliers(values)
        series = Series(cleaned, Designs(len(values)))
        found, others = explain(series, scales)
        self._gains = found.gains
        if found.components[1:]:
            slowest = math.tau / len(values)
            self._fits = _likely_fits(series, found.components, MODELS, slowest)
            # The frequency of a cycle longer than the series cannot be separated from a rise, but affects the steps.
            self._other_fits = [
                one
                for other in ([found, *others] if found.gains else [])
                for one in _likely_fits(series, other.components, neighbours(other.noise))
            ]

    def steps(self) -> list[Step]:
        """Return the steps in run order, at least 3 runs from each other and from the ends."""
        indices = [0, *sorted(self._gains), len(self._values)]
        levels = [median(self._values[start:end]) for start, end in pairwise(indices)] if self._gains else []
        return [
            Step(index=index, before=before, after=after, ratio=self._step_ratio(index), gain=self._gains[index])
            for index, (before, after) in zip(indices[1:-1], pairwise(levels), strict=True)
        ]

    def rise(self, since: int = 0) -> Rise | None:
        """Return how far the end lies above the lowest level from run *since* on; None if no level changed."""
        if not self._fits:
            return None
        best, n = self._fits[0], len(self._values)
        # A cycle longer than the series counts as a change of level.
        lasting = [
            (place, sample(one, n))
            for place, one in enumerate(best.design.components)
            if isinstance(one, LevelShift | SlopeChange) or (isinstance(one, Harmonic) and one.frequency * n < math.tau)
        ]
        if len(lasting) < 2:
            return None
        levels = [math.fsum(best.coefficients[place] * values[run] for place, values in lasting) for run in range(n)]
        lowest = min(range(min(since, n - 1), n), key=levels.__getitem__)
        contrast = [0.0] * len(best.design.components)
        for place, values in lasting:
            contrast[place] = values[-1] - values[lowest]
        ups = [
            shape.index
            for factor, shape in zip(best.coefficients, best.design.components, strict=True)
            if isinstance(shape, LevelShift) and shape.index > lowest and factor > 0
        ]
        latest = max(shape.index for shape in best.design.components if isinstance(shape, LevelShift))
        stepped = math.fsum(levels[index] - levels[index - 1] for index in ups)
        drifted = 2 * stepped < levels[-1] - levels[lowest]
        return Rise(
            index=lowest if drifted else latest,
            lowest=levels[lowest],
            latest=levels[-1],
            ratio=self._ratio([(one, contrast) for one in self._fits]),
            shape=Rising.DRIFT if drifted else Rising.STEP if len(ups) == 1 else Rising.STEPS,
        )

    def _step_ratio(self, index: int) -> Interval:
        contrasts = []
        for one in (*self._fits, *self._other_fits):
            indices = [each.index if isinstance(each, LevelShift) else 0 for each in one.design.components]
            nearest = min(indices, key=lambda other: abs(other - index))
            if abs(nearest - index) < SHORTEST_LEVEL:
                contrasts.append((one, [float(other == nearest) for other in indices]))
        return self._ratio(contrasts)

    def _ratio(self, contrasts: Sequence[tuple[Fit, Sequence[float]]]) -> Interval:
        """Estimate a sum of coefficients, as the span of Student's intervals under all likely fits."""
        sizes = [math.fsum(map(mul, contrast, one.coefficients)) for one, contrast in contrasts]
        errors = [
            _student(self._probability, len(self._values) - len(contrast)) * one.standard_error(contrast)
            for one, contrast in contrasts
        ]
        return Interval(
            estimate=math.exp(sizes[0]),
            low=math.exp(min(map(sub, sizes, errors))),
            high=math.exp(max(map(add, sizes, errors))),
        )


def find_steps(values: Sequence[float], confidence: float = 0.95) -> list[Step]:
    """Find the steps of a series; see :class:`PiecewiseFit`."""
    return PiecewiseFit(values, confidence).steps()


def _likely_fits(
    series: Series, components: tuple[Component, ...], models: Iterable[Noise], slowest: float = 0.0
) -> list[Fit]:
    """Return the fits under all noise models that are likely enough, likeliest first.

    Frequencies above *slowest* are uncertain too.
    """
    fits = sorted((series.fit(components, noise) for noise in models), key=attrgetter("likelihood"), reverse=True)
    coefficients = dict(zip(components, fits[0].coefficients, strict=True))
    errors = tuple(
        FrequencyError(one.frequency, coefficients[one], coefficients[Harmonic(one.frequency, sine=True)])
        for one in components
        if isinstance(one, Harmonic) and not one.sine and one.frequency > slowest
    )
    likely = [one.design.noise for one in fits if one.likelihood > fits[0].likelihood - _LIKELY]
    return [series.fit(components + errors, noise) for noise in likely]


def _student(probability: float, freedom: int) -> float:
    """Return the quantile of Student's distribution, to a thousandth from 8 degrees of freedom on.

    Source:
        Abramowitz & Stegun, Handbook of Mathematical Functions (1964), 26.7.5.
    """
    z = NormalDist().inv_cdf(probability)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def _limit_outliers(values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Limit outliers, so that one slow run among its neighbours is no evidence of a step.

    Returns:
        The values, and the standard deviation around each, relative to that of all; each of shape (n,).
    """
    typical = _running_medians(values, _MEDIAN_RUNS)
    off = [value - level for value, level in zip(values, typical, strict=True)]
    sizes = list(map(abs, off))
    # Coarse clocks repeat values, and more than half of the deviations may be zero.
    overall = median(sizes) or fmean(sizes)
    spreads = [middle / overall if overall else 1.0 for middle in _running_medians(sizes, _SCALE_RUNS)]
    # The larger one of before and after, so that noise that begins to grow is not taken for steps.
    half = _SCALE_RUNS // 2
    padded = [spreads[0]] * half + spreads + [spreads[-1]] * half
    scales = list(map(max, padded, padded[2 * half :]))
    if max(scales) < _UNEVEN * min(scales) or not min(scales):
        scales = [1.0] * len(values)
    # Noise with a long tail has its outliers on one side.
    upper, lower = (max(overall, median([sign * one for one in off if sign * one > 0] or [0.0])) for sign in (1, -1))
    cleaned = []
    for level, deviation, scale in zip(typical, off, scales, strict=True):
        deviation_here = _TO_DEVIATION * (upper if deviation > 0 else lower) * scale
        limited = min(max(deviation, -_LIMIT * deviation_here), _LIMIT * deviation_here)
        cleaned.append(level if abs(deviation) > _SPIKE * deviation_here else level + limited)
    return cleaned, scales


def _running_medians(values: Sequence[float], width: int) -> list[float]:
    """Return the median of the values around each place, shifted inwards at the ends."""
    medians = [median(values[start : start + width]) for start in range(max(1, len(values) - width + 1))]
    before = min(width, len(values)) // 2
    after = len(values) - before - len(medians)
    return [medians[0]] * before + medians + [medians[-1]] * after
