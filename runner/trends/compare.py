"""Two samples of wall times compared: how far one lies from the other, how sure that is, and the verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate, count
from operator import sub
from statistics import NormalDist

from runner.model.errors import RunnerError

# Below this many list operations (0.1 s) the rank-sum distribution is counted exactly: 125 runs against 125, 14 against
# 10,000. Beyond it the normal approximation is off by about one rank in thousands.
EXACT_UP_TO = 2_000_000


class NotEnoughRuns(RunnerError):
    """The samples are too small for an interval of the confidence asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """An estimate with its confidence interval.

    Attributes:
        estimate: The best single number.
        low: Lower bound; never above the estimate.
        high: Upper bound; never below the estimate.
    """

    estimate: float
    low: float
    high: float


class Verdict(StrEnum):
    """How a strategy compares with the one it is measured against."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "same"
    UNDECIDED = "undecided"


def shift_interval(baseline: Sequence[float], other: Sequence[float], confidence: float = 0.95) -> Interval:
    """Estimate how far *other* lies above *baseline*, with its confidence interval.

    The estimate is the median of all differences between one number of each sample. The bounds are the k-th smallest
    and k-th largest of them, with the largest k at which a rank-sum test would still let both samples come from one
    distribution, whatever that is, with at most the probability 1 - confidence. Ties make it wider, never narrower.

    Args:
        baseline: Natural logarithms of wall times in seconds; shape (m,), m >= 1, any order.
        other: The same for the strategy compared; shape (n,), n >= 1.
        confidence: Probability, dimensionless, 0 < confidence < 1.

    Returns:
        The Hodges-Lehmann shift and its bounds, natural-log units.

    Raises:
        NotEnoughRuns: If no interval of that confidence exists for m and n.
        ValueError: If the confidence is no probability or a number is not finite.

    Source:
        Hodges & Lehmann (1963); Lehmann, Nonparametrics (1975), section 2.5.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"the confidence {confidence} does not lie between 0 and 1")
    if not all(map(math.isfinite, (*baseline, *other))):
        raise ValueError("only finite numbers can be compared")
    m, n = len(baseline), len(other)
    rank = _bound_rank(m, n, confidence)
    if rank == 0:
        needed = next(size for size in count(2) if _bound_rank(size, size, confidence))
        raise NotEnoughRuns(
            f"{min(m, n)} of the {needed} runs of each that a comparison with {confidence:.4g} confidence needs; "
            "run the job again"
        )
    lower, upper = sorted(baseline), sorted(other)
    total = m * n
    middle = _kth_difference(lower, upper, (total + 1) // 2)
    if total % 2 == 0:
        middle = (middle + _kth_difference(lower, upper, total // 2 + 1)) / 2
    return Interval(
        estimate=middle,
        low=_kth_difference(lower, upper, rank),
        high=_kth_difference(lower, upper, total + 1 - rank),
    )


def ratio_interval(baseline_s: Sequence[float], other_s: Sequence[float], confidence: float = 0.95) -> Interval:
    """Estimate the ratio of *other* to *baseline* wall times: 0.5 where the other takes half as long.

    Args:
        baseline_s: Wall times in seconds, all above zero; shape (m,), m >= 1, any order.
        other_s: The same for the strategy compared; shape (n,), n >= 1.
        confidence: Probability, dimensionless, 0 < confidence < 1.

    Returns:
        The ratio and its bounds, dimensionless.

    Raises:
        NotEnoughRuns: If no interval of that confidence exists for m and n.
        ValueError: If a wall time is zero or less.
    """
    shift = shift_interval([math.log(wall) for wall in baseline_s], [math.log(wall) for wall in other_s], confidence)
    return Interval(estimate=math.exp(shift.estimate), low=math.exp(shift.low), high=math.exp(shift.high))


def judge(ratio: Interval, band: float = 0.05) -> Verdict:
    """Return the verdict on the interval of a ratio.

    A difference counts only when it is both sure and large enough to matter. The band reaches from 1 / (1 + band) to
    1 + band, so that exchanging the two strategies exchanges faster and slower and nothing else.

    Args:
        ratio: The ratio of wall times with its bounds, dimensionless.
        band: How much longer or shorter still counts as the same, dimensionless, >= 0.

    Returns:
        faster or slower where the whole interval lies outside the band, same where it lies inside, else undecided.
    """
    if ratio.high < 1 / (1 + band):
        return Verdict.FASTER
    if ratio.low > 1 + band:
        return Verdict.SLOWER
    if 1 / (1 + band) <= ratio.low and ratio.high <= 1 + band:
        return Verdict.SAME
    return Verdict.UNDECIDED


def further_runs(ratio: Interval, runs: int, band: float = 0.05) -> int | None:
    """Estimate how many more runs an undecided comparison needs until its verdict is one of the others.

    As the runs grow in number the interval shrinks with their square root, and the estimate is taken to stay where it
    is. It will not quite, so the number is of an order rather than exact.

    Args:
        ratio: The ratio of wall times with its bounds, dimensionless.
        runs: How many runs it rests on, of each strategy; >= 1.
        band: How much longer or shorter still counts as the same, dimensionless, >= 0.

    Returns:
        The runs still missing, of each strategy; 0 where the verdict stands; None where no number is enough, because
        the estimate lies on an edge of the band.

    Source:
        Normal approximation of the estimate: Hodges & Lehmann, Annals of Mathematical Statistics 34 (1963) 598.
    """
    if judge(ratio, band) is not Verdict.UNDECIDED:
        return 0
    middle, edge = math.log(ratio.estimate), math.log1p(band)
    below, above = middle - math.log(ratio.low), math.log(ratio.high) - middle
    if abs(middle) == edge:
        return None
    if abs(middle) < edge:
        shrink = max(above / (edge - middle), below / (edge + middle))
    else:
        shrink = below / (middle - edge) if middle > 0 else above / (-edge - middle)
    return max(1, math.ceil(runs * (shrink**2 - 1)))


@lru_cache(maxsize=1024)
def _bound_rank(m: int, n: int, confidence: float) -> int:
    """Return the largest k with 2 P(U <= k - 1) <= 1 - confidence, U being the Mann-Whitney statistic; 0 if none."""
    if m == 0 or n == 0:
        return 0
    m, n = sorted((m, n))
    if m * m * n > EXACT_UP_TO:
        spread = math.sqrt(m * n * (m + n + 1) / 12)
        return max(0, math.floor(m * n / 2 + 0.5 - NormalDist().inv_cdf((1 + confidence) / 2) * spread))
    # By its text, 0.9 is 9/10; by its bits it is a little more, and samples that just suffice would be refused.
    allowed = math.floor(math.comb(m + n, m) * (1 - Fraction(str(confidence))) / 2)
    return sum(1 for below in accumulate(_rank_sum_counts(m, n)) if below <= allowed)


def _rank_sum_counts(m: int, n: int) -> list[int]:
    """Count the orders of m and n values that give U = 0, 1, … m * n // 2, without ties.

    They are the coefficients of the Gaussian binomial, the product of (1 - q^(n+i)) / (1 - q^i) over i = 1 … m; the
    other half mirrors these.

    Source:
        Andrews, The Theory of Partitions (1976), theorem 3.1.
    """
    counts = [1] + [0] * (m * n // 2)
    for i in range(1, m + 1):
        counts[n + i :] = map(sub, counts[n + i :], counts[: max(0, len(counts) - n - i)])
        for start in range(i):
            counts[start::i] = accumulate(counts[start::i])
    return counts


def _kth_difference(lower: Sequence[float], upper: Sequence[float], k: int) -> float:
    """Return the k-th smallest (from 1) of all ``u - l``, from sorted samples, without building the m * n differences.

    The bracket (low, high] always holds it. It shrinks until the differences inside are few enough to sort: to where
    the k-th is expected if they are evenly spread, and every third time to a half, as they may not be.
    """
    low = math.nextafter(upper[0] - lower[-1], -math.inf)
    high = upper[-1] - lower[0]
    below, inside, tries = 0, len(lower) * len(upper), 0
    while inside > len(lower) + len(upper):
        tries += 1
        middle = low + (high - low) * ((k - below - 0.5) / inside if tries % 3 else 0.5)
        if not low < middle < high:
            middle = low + (high - low) / 2
            if not low < middle < high:
                return high
        counts = _counts_up_to(lower, upper, middle)
        up_to = sum(counts)
        if up_to >= k:
            high = max(upper[end - 1] - value for value, end in zip(lower, counts, strict=True) if end)
            inside = up_to - below
        else:
            low, inside, below = middle, inside - (up_to - below), up_to
            if high == min(upper[end] - value for value, end in zip(lower, counts, strict=True) if end < len(upper)):
                return high  # all differences inside are equal
    ends = zip(lower, _counts_up_to(lower, upper, low), _counts_up_to(lower, upper, high), strict=True)
    return sorted(u - value for value, start, end in ends for u in upper[start:end])[k - below - 1]


def _counts_up_to(lower: Sequence[float], upper: Sequence[float], bound: float) -> list[int]:
    """Count for each of *lower* how many of *upper* lie at most *bound* above it."""
    counts = []
    end, n = 0, len(upper)
    for value in lower:
        while end < n and upper[end] - value <= bound:
            end += 1
        counts.append(end)
    return counts
