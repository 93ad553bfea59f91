"""SciPy's Theil–Sen slope and its exact Kendall test are the oracles."""

import math
import pickle
from itertools import combinations, permutations

import numpy as np
import pytest
from scipy.stats import kendalltau, theilslopes

from runner.trends import drift
from runner.trends.compare import NotEnoughRuns
from runner.trends.drift import daily_slope


def test_the_slope_is_scipys_slope_of_daily_medians() -> None:
    generator = np.random.default_rng(8)
    days = generator.uniform(100, 130, size=400)
    values = 0.01 * days + generator.standard_t(2, size=400) * 0.08
    numbers = np.unique(np.floor(days))
    medians = [float(np.median(values[np.floor(days) == number])) for number in numbers]
    expected = theilslopes(medians, numbers, 0.95)
    slope = daily_slope(days.tolist(), values.tolist())
    assert pytest.approx(math.expm1(expected.slope)) == slope.estimate
    # SciPy rounds a normal approximation of the ranks; two of 435 slopes are far closer than a tenth of the width.
    width = slope.high - slope.low
    assert pytest.approx(math.expm1(expected.low_slope), abs=width / 10) == slope.low
    assert pytest.approx(math.expm1(expected.high_slope), abs=width / 10) == slope.high


@pytest.mark.parametrize("n", [5, 6, 9, 20, 60])
def test_the_bounds_lie_between_the_slopes_where_the_exact_test_starts_to_reject(n: int) -> None:
    generator = np.random.default_rng(n)
    values = generator.normal(size=n)
    slopes = sorted((values[j] - values[i]) / (j - i) for i, j in combinations(range(n), 2))
    slope = daily_slope(list(range(n)), values.tolist())

    def p_value(bound: float) -> float:
        return float(kendalltau(np.arange(n), values - bound * np.arange(n), method="exact").pvalue)

    for bound, outwards in ((math.log1p(slope.low), -1), (math.log1p(slope.high), 1)):
        around = [one for one in (slopes if outwards > 0 else reversed(slopes)) if outwards * (one - bound) >= -1e-12]
        within = [one for one in slopes if outwards * (one - bound) < -1e-12]
        outer, inner = around[0], within[-1] if outwards > 0 else within[0]
        assert p_value(outer + outwards * 1e-9) <= 0.05
        assert p_value(inner - outwards * 1e-9) > 0.05


def test_every_order_is_counted() -> None:
    by_disorder = [0] * 16
    for order in permutations(range(6)):
        by_disorder[sum(early > late for early, late in combinations(order, 2))] += 1
    assert by_disorder == drift._disorder_counts(6)


def test_beyond_the_exact_size_the_approximation_agrees_with_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    approximate = sum(drift._bound_rank(130, 0.95))
    monkeypatch.setattr(drift, "EXACT_UP_TO", 10**9)
    assert abs(approximate - sum(drift._bound_rank(130, 0.95))) < 1


@pytest.mark.parametrize("n", [6, 7, 12])
def test_the_interval_covers_the_true_slope_as_often_as_it_says(n: int) -> None:
    generator = np.random.default_rng(20261122 + n)
    covered = 0
    for _ in range(800):
        values = 0.02 * np.arange(n) + generator.exponential(size=n)
        slope = daily_slope(list(range(n)), values.tolist())
        covered += slope.low <= math.expm1(0.02) <= slope.high
    # Four standard errors of 800 draws are 0.031.
    assert 0.92 < covered / 800 < 0.982


def test_one_bad_day_tilts_nothing() -> None:
    days = [day + hour / 24 for day in range(20) for hour in range(24)]
    values = [0.005 * math.floor(day) + (3.0 if math.floor(day) == 17 else 0.0) for day in days]
    slope = daily_slope(days, values)
    assert pytest.approx(math.expm1(0.005)) == slope.estimate
    assert slope.low <= slope.estimate <= slope.high


def test_days_without_runs_count_as_time() -> None:
    days = [0.5, 1.5, 4.5, 8.5, 9.5, 10.5]
    slope = daily_slope(days, [0.1 * math.floor(day) for day in days])
    assert [pytest.approx(math.expm1(0.1))] * 3 == [slope.estimate, slope.low, slope.high]


@pytest.mark.parametrize(("count", "confidence", "needed"), [(0, 0.95, 5), (4, 0.95, 5), (5, 0.99, 6)])
def test_too_few_days_are_refused_with_the_number_needed(count: int, confidence: float, needed: int) -> None:
    with pytest.raises(NotEnoughRuns, match=f"{count} days .* {needed} are enough") as caught:
        # However many runs a day has, it is one day.
        daily_slope([day + hour / 24 for day in range(count) for hour in range(24)], [0.0] * (24 * count), confidence)
    assert str(caught.value) == str(pickle.loads(pickle.dumps(caught.value)))  # noqa: S301 - its own bytes
    daily_slope(list(range(needed)), [0.0] * needed, confidence)


@pytest.mark.parametrize(("days", "confidence"), [([1.0] * 5, 0.95), ([1.0] * 6, 1.5), ([math.nan] * 6, 0.95)])
def test_what_can_not_have_a_slope_is_a_defect(days: list[float], confidence: float) -> None:
    with pytest.raises(ValueError, match=r"shorter|longer|between 0 and 1|finite"):
        daily_slope(days, [0.0] * 6, confidence)
