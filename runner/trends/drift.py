"""Drift: the slope of daily medians, which no single bad day changes much."""

import math
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, combinations, count
from operator import sub
from statistics import NormalDist, median

from runner.model.units import format_count
from runner.trends.compare import Interval, NotEnoughRuns

# Up to this many days the orders are counted exactly, which takes 0.1 s; beyond, the normal approximation is off by
# less than a rank in thousands.
EXACT_UP_TO = 120


def daily_slope(days: Sequence[float], values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Estimate how much longer runs take from day to day, from the median of each day.

    The estimate is the median of the slopes between all pairs of days. The bounds are slopes too: those at which
    Kendall's test would just let what remains of the medians be in random order. Where the coverage asked for lies
    between those of two neighbouring slopes, the bound does too; so it comes close for every number of days, while
    the outer slope alone would cover 98 % of the time for six days.

    Args:
        days: Instants in days since any midnight, of the clock that tells one day from the next; shape (n,), any order.
        values: Natural logarithms of wall times at these instants; shape (n,).
        confidence: Probability, dimensionless, 0 < confidence < 1.

    Returns:
        The relative change per day and its bounds, dimensionless: 0.01 where each day takes 1 % longer than the last.

    Raises:
        NotEnoughRuns: If there are too few days with runs for an interval of that confidence.
        ValueError: If the confidence is no probability, a number is not finite, or the lengths differ.

    Source:
        Sen, Journal of the American Statistical Association 63 (1968) 1379. Interpolation as for the sign test:
        Hettmansperger & Sheather, Statistics & Probability Letters 4 (1986) 75.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"the confidence {confidence} does not lie between 0 and 1")
    if not all(map(math.isfinite, (*days, *values))):
        raise ValueError("only finite numbers have a slope")
    by_day = defaultdict(list)
    for day, value in zip(days, values, strict=True):
        by_day[math.floor(day)].append(value)
    points = [(day, median(by_day[day])) for day in sorted(by_day)]
    rank, further = _bound_rank(len(points), confidence)
    if rank == 0:
        needed = next(size for size in count(2) if _bound_rank(size, confidence)[0])
        raise NotEnoughRuns(
            f"runs on {format_count(len(points), 'day')} are too few for a slope at {confidence:.4g} confidence; "
            f"{needed} are enough"
        )
    slopes = sorted((late - early) / (day - before) for (before, early), (day, late) in combinations(points, 2))
    low = slopes[rank - 1] + further * (slopes[rank] - slopes[rank - 1])
    high = slopes[-rank] - further * (slopes[-rank] - slopes[-rank - 1])
    return Interval(estimate=math.expm1(median(slopes)), low=math.expm1(low), high=math.expm1(high))


def _bound_rank(n: int, confidence: float) -> tuple[int, float]:
    """Return which slope, counted from the outside, is the bound for n days, and its distance to the next one.

    The rank is the largest k with 2 P(at most k - 1 pairs of days are out of order) <= 1 - confidence; 0 if none.
    """
    if n > EXACT_UP_TO:
        spread = math.sqrt(n * (n - 1) * (2 * n + 5) / 72)
        exact = n * (n - 1) / 4 + 0.5 - NormalDist().inv_cdf((1 + confidence) / 2) * spread
        return math.floor(exact), exact % 1
    # By its text, 0.9 is 9/10; by its bits it is a little more, and days that just suffice would be refused.
    allowed = math.factorial(n) * (1 - Fraction(str(confidence))) / 2
    at_most = list(accumulate(_disorder_counts(n)))
    rank = sum(1 for below in at_most if below <= allowed)
    if rank in (0, len(at_most)):
        return 0, 0.0
    return rank, float((allowed - at_most[rank - 1]) / (at_most[rank] - at_most[rank - 1]))


def _disorder_counts(n: int) -> list[int]:
    """Count the orders of n values that put 0, 1, … n (n - 1) / 2 pairs in the wrong order.

    They are the coefficients of the product of 1 + q + … + q^(i-1) over i = 1 … n.

    Source:
        Kendall, Biometrika 30 (1938) 81.
    """
    counts = [1]
    for i in range(2, n + 1):
        whole = list(accumulate([*counts, *[0] * (i - 1)]))
        counts = list(map(sub, whole, [*[0] * i, *whole[:-i]]))
    return counts
