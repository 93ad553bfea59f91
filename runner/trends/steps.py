"""Did it get slower, when, and by how much: lasting steps in a series of timings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist, fmean, median

from runner.trends.compare import Interval
from runner.trends.explain import Explanation, explain
from runner.trends.noise import MODELS, effect, fit

# Shorter series are never judged.
FEWEST = 12

# Runs farther from the median of the seven around them than 3.5 of their usual deviations are drawn in to it, so that a
# fresh step of two or three is left alone; beyond 5 they are spikes and count as the median. 1.1 makes up for medians
# that lie closer to the runs than the level does.
_TAME = 3.5
_SPIKE = 5.0
_AROUND = 7
_USUAL = 1.1 / NormalDist().inv_cdf(0.75)

# An interval spans what every noise says whose log-likelihood, doubled, is at most this far from the best: in 200
# simulations each that covered the truth in 93 to 97 %, the best alone in 92 to 94 %.
_LIKELY = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One lasting change of level.

    Attributes:
        index: The first run at the new level, counted from 0.
        before: Median from the step before (or the start) up to this one, natural-log units.
        after: Median from this step up to the next one (or the end), natural-log units.
        ratio: The new level over the old one and its bounds, dimensionless: 1.22 where runs take 22 % longer. Cycles
            and a wandering background are allowed for, which the two medians do not.
        gain: Twice the logarithm of how much likelier the series is with this step than without it; 11 at the least.
    """

    index: int
    before: float
    after: float
    ratio: Interval
    gain: float


def find_steps(values: Sequence[float], confidence: float = 0.95) -> list[Step]:
    """Find where the level of a series changed for good, or until the next step.

    Three explanations compete for every change: noise that wanders (see :mod:`runner.trends.noise`), a regular cycle,
    and a step. One after the other, the step or the cycle that makes the series likeliest is accepted, as long as it
    gains enough over noise alone, whose kind and size are estimated anew with and without it. So neither does a step
    pass for noise nor slow noise for steps. Single runs far off their neighbours count as their neighbours do.

    Args:
        values: Natural logarithms of wall times (or of wall times per entry) in run order; shape (n,). Series of less
            than 12 runs have no steps that could be told from chance.
        confidence: Probability that an interval is to cover the true ratio, dimensionless, 0 < confidence < 1.

    Returns:
        The steps in run order, at least 3 runs from each other and from the ends.

    Raises:
        ValueError: If the confidence is no probability or a number is not finite.

    Source:
        Likelihood-ratio test with the alternative's noise re-estimated: Andrews, Econometrica 61 (1993) 821. The
        thresholds are simulated.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"the confidence {confidence} does not lie between 0 and 1")
    if not all(map(math.isfinite, values)):
        raise ValueError("only finite numbers can be searched for steps")
    if len(values) < FEWEST:
        return []
    tamed = _tame(values)
    found = explain(tamed)
    indices = sorted(found.steps)
    middles = [median(values[start:end]) for start, end in pairwise([0, *indices, len(values)])]
    ratios = _ratios(tamed, found, confidence)
    return [
        Step(index=index, before=before, after=after, ratio=ratios[index], gain=found.steps[index])
        for index, (before, after) in zip(indices, pairwise(middles), strict=True)
    ]


def _ratios(values: Sequence[float], found: Explanation, confidence: float) -> dict[int, Interval]:
    """Estimate each step beside all the others, with Student's interval under every noise that is likely enough."""
    n = len(values)
    shapes = found.shapes(n)
    likely = sorted(((fit(values, shapes, noise).likelihood, noise) for noise in MODELS), key=lambda one: -one[0])
    noises = [noise for reached, noise in likely if reached > likely[0][0] - _LIKELY]
    reach = _student((1 + confidence) / 2, n - len(shapes))
    ratios = {}
    for place, index in enumerate(found.steps, start=1):
        beside = shapes[:place] + shapes[place + 1 :]
        effects = [effect(values, beside, shapes[place], noise) for noise in noises]
        ratios[index] = Interval(
            estimate=math.exp(effects[0][0]),
            low=math.exp(min(size - reach * error for size, error in effects)),
            high=math.exp(max(size + reach * error for size, error in effects)),
        )
    return ratios


def _student(probability: float, freedom: int) -> float:
    """Give the quantile of Student's distribution, to a thousandth from 8 degrees of freedom on.

    Source:
        Abramowitz & Stegun, Handbook of Mathematical Functions (1964), 26.7.5.
    """
    z = NormalDist().inv_cdf(probability)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def _tame(values: Sequence[float]) -> list[float]:
    """Draw spikes in, so that one slow run among its neighbours is no evidence of a step."""
    last = len(values) - _AROUND
    starts = (min(max(0, place - _AROUND // 2), last) for place in range(len(values)))
    typical = [median(values[start : start + _AROUND]) for start in starts]
    off = [value - around for value, around in zip(values, typical, strict=True)]
    # Coarse clocks repeat values, and more than half of the deviations may be zero.
    usual = _USUAL * median(map(abs, off)) or fmean(map(abs, off))
    tame, spike = _TAME * usual, _SPIKE * usual
    return [
        around if abs(o) > spike else around + min(max(o, -tame), tame) for o, around in zip(off, typical, strict=True)
    ]
