"""SciPy's exact rank-sum test and plain enumeration are the oracles of every interval."""

import math
import pickle
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, norm

from runner.model.errors import RunnerError
from runner.trends import compare
from runner.trends.compare import (
    Interval,
    NotEnoughRuns,
    Verdict,
    further_runs,
    judge,
    ratio_interval,
    shift_interval,
)

finite = st.floats(-1e6, 1e6)
samples = st.lists(finite, min_size=4, max_size=30)


def differences(baseline: list[float], other: list[float]) -> list[float]:
    return sorted(b - a for a in baseline for b in other)


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 7), (2, 3), (4, 4), (5, 6)])
def test_the_rank_sum_distribution_counts_every_order(m: int, n: int) -> None:
    by_statistic = [0] * (m * n + 1)
    for ranks in combinations(range(m + n), m):
        by_statistic[sum(ranks) - m * (m - 1) // 2] += 1
    assert by_statistic[: m * n // 2 + 1] == compare._rank_sum_counts(m, n)


@pytest.mark.parametrize(("m", "n"), [(4, 4), (5, 9), (12, 7), (20, 20), (1, 39), (30, 40)])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_bounds_lie_where_the_exact_test_starts_to_reject(m: int, n: int, confidence: float) -> None:
    generator = np.random.default_rng(m * n)
    baseline, other = generator.normal(size=m), generator.normal(size=n)
    interval = shift_interval(baseline.tolist(), other.tolist(), confidence)
    for bound, outwards in ((interval.low, -1e-9), (interval.high, 1e-9)):
        outside, inside = (
            mannwhitneyu(baseline, other - shift, method="exact").pvalue
            for shift in (bound + outwards, bound - outwards)
        )
        assert outside <= 1 - confidence + 1e-12
        assert inside > 1 - confidence


def test_samples_that_just_suffice_are_accepted() -> None:
    values = [float(number) for number in range(19)]
    assert shift_interval([0.0], values, 0.9) == Interval(estimate=9.0, low=0.0, high=18.0)


def test_beyond_the_exact_size_the_approximation_agrees_with_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    approximate = compare._bound_rank(150, 150, 0.95)
    monkeypatch.setattr(compare, "EXACT_UP_TO", 10**9)
    assert abs(approximate - compare._bound_rank.__wrapped__(150, 150, 0.95)) <= 1
    statistic, spread = approximate - 1, math.sqrt(150 * 150 * 301 / 12)
    assert norm.cdf((statistic + 0.5 - 11_250) / spread) <= 0.025 < norm.cdf((statistic + 1.5 - 11_250) / spread)


def test_the_interval_covers_the_true_shift_as_often_as_it_says() -> None:
    generator = np.random.default_rng(20261122)
    covered = 0
    for _ in range(600):
        interval = shift_interval(generator.exponential(size=7).tolist(), (generator.exponential(size=9) + 2).tolist())
        covered += interval.low <= 2 <= interval.high
    # Exact coverage for 7 and 9 is 0.9549; four standard errors of 600 draws are 0.034.
    assert 0.92 < covered / 600 < 0.99


@given(samples, samples)
def test_the_estimate_is_the_median_of_all_differences_and_lies_within_its_bounds(
    a: list[float], b: list[float]
) -> None:
    interval = shift_interval(a, b)
    assert pytest.approx(float(np.median(differences(a, b)))) == interval.estimate
    assert interval.low <= interval.estimate <= interval.high
    assert {interval.low, interval.high} <= set(differences(a, b))


@given(st.lists(st.integers(-3, 3).map(float), min_size=20, max_size=40), st.lists(finite, min_size=20, max_size=40))
def test_selection_agrees_with_sorting_all_differences(a: list[float], b: list[float]) -> None:
    everything = differences(a, b)
    ranks = {1, 2, len(everything) // 3, len(everything)}
    assert {rank: everything[rank - 1] for rank in ranks} == {
        rank: compare._kth_difference(sorted(a), sorted(b), rank) for rank in ranks
    }


def test_equal_differences_are_counted_a_few_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []

    def count(lower: list[float], upper: list[float], bound: float) -> list[int]:
        counted.append(bound)
        return real(lower, upper, bound)

    real = compare._counts_up_to
    monkeypatch.setattr(compare, "_counts_up_to", count)
    coarse = [float(place % 3) for place in range(900)]
    assert Interval(estimate=0.0, low=0.0, high=0.0) == shift_interval(coarse, coarse)
    assert len(counted) < 60


def test_equal_runs_have_no_shift_and_no_width() -> None:
    assert Interval(estimate=0.0, low=0.0, high=0.0) == shift_interval([0.25] * 90, [0.25] * 80)


def test_exchanging_the_samples_mirrors_the_interval() -> None:
    there = shift_interval([1.0, 2.0, 4.0, 8.0], [3.0, 5.0, 5.5, 9.0])
    back = shift_interval([3.0, 5.0, 5.5, 9.0], [1.0, 2.0, 4.0, 8.0])
    assert (there.estimate, there.low, there.high) == (-back.estimate, -back.high, -back.low)


def test_a_pool_taking_half_as_long_has_the_ratio_one_half() -> None:
    sequential = [0.90, 0.95, 1.00, 1.05, 1.10]
    ratio = ratio_interval(sequential, [wall / 2 for wall in sequential])
    assert pytest.approx(0.5) == ratio.estimate
    assert 0.4 < ratio.low < 0.5 < ratio.high < 0.6


def test_large_histories_are_compared_without_building_all_differences() -> None:
    generator = np.random.default_rng(5)
    interval = shift_interval(generator.normal(size=20_000).tolist(), generator.normal(1, size=20_000).tolist())
    assert interval.low < 1 < interval.high
    assert interval.high - interval.low < 0.1


@pytest.mark.parametrize(("m", "n", "confidence", "needed"), [(3, 3, 0.95, 4), (0, 5, 0.95, 4), (4, 4, 0.99, 5)])
def test_too_few_runs_are_refused_with_the_number_needed(m: int, n: int, confidence: float, needed: int) -> None:
    with pytest.raises(NotEnoughRuns, match=f"^{min(m, n)} of the {needed} runs of each") as caught:
        shift_interval([1.0] * m, [1.0] * n, confidence)
    assert isinstance(caught.value, RunnerError)
    assert str(caught.value) == str(pickle.loads(pickle.dumps(caught.value)))  # noqa: S301 - its own bytes
    shift_interval([1.0] * needed, [1.0] * needed, confidence)


@pytest.mark.parametrize("confidence", [0, 1, 95, math.nan])
def test_a_confidence_that_is_no_probability_is_a_defect(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        shift_interval([1.0] * 5, [1.0] * 5, confidence)


@pytest.mark.parametrize("wall", [0.0, -1.0, math.nan, math.inf])
def test_impossible_wall_times_are_a_defect(wall: float) -> None:
    with pytest.raises(ValueError, match=r"math domain|positive|finite"):
        ratio_interval([1.0] * 5, [1.0, 1.0, 1.0, 1.0, wall])


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.50, 0.60, Verdict.FASTER),
        (0.50, 0.97, Verdict.UNDECIDED),
        (0.96, 1.04, Verdict.SAME),
        (1 / 1.05, 1.05, Verdict.SAME),
        (0.96, 1.30, Verdict.UNDECIDED),
        (0.50, 2.00, Verdict.UNDECIDED),
        (1.06, 1.30, Verdict.SLOWER),
    ],
)
def test_a_verdict_needs_the_whole_interval(low: float, high: float, verdict: Verdict) -> None:
    assert verdict == judge(Interval(estimate=(low + high) / 2, low=low, high=high))


@given(st.floats(0.1, 10), st.floats(0, 1), st.floats(0.001, 0.5))
def test_exchanging_the_strategies_exchanges_faster_and_slower(low: float, width: float, band: float) -> None:
    high = low * (1 + width)
    # Exactly on an edge of the band, rounding decides.
    assume(all(abs(bound * edge - 1) > 1e-9 for bound in (low, high) for edge in (1 + band, 1 / (1 + band))))
    mirrored = {Verdict.FASTER: Verdict.SLOWER, Verdict.SLOWER: Verdict.FASTER}
    verdict = judge(Interval(estimate=low, low=low, high=high), band)
    opposite = judge(Interval(estimate=1 / low, low=1 / high, high=1 / low), band)
    assert mirrored.get(verdict, verdict) == opposite


def decided_after(ratio: Interval, runs: int, further: int) -> bool:
    shrink = math.sqrt(runs / (runs + further))
    low, high = (ratio.estimate * (bound / ratio.estimate) ** shrink for bound in (ratio.low, ratio.high))
    return judge(Interval(estimate=ratio.estimate, low=low, high=high)) is not Verdict.UNDECIDED


@given(st.floats(0.7, 1.4), st.floats(1.001, 2), st.floats(1.001, 2), st.integers(4, 500))
def test_an_undecided_verdict_tells_how_many_more_runs_decide_it(
    estimate: float, below: float, above: float, runs: int
) -> None:
    ratio = Interval(estimate=estimate, low=estimate / below, high=estimate * above)
    # Next to an edge of the band the number grows without bound, and rounding decides about the last run.
    assume(abs(abs(math.log(estimate)) - math.log(1.05)) > 1e-3)
    further = further_runs(ratio, runs)
    assert further is not None
    assert decided_after(ratio, runs, further + 1)
    assert further == 0 or not decided_after(ratio, runs, max(0, further - 2))


def test_a_verdict_that_stands_needs_no_more_runs() -> None:
    assert 0 == further_runs(Interval(estimate=0.5, low=0.4, high=0.6), 8)
    assert 0 == further_runs(Interval(estimate=1.0, low=0.97, high=1.03), 8)


def test_four_times_the_runs_halve_the_interval() -> None:
    assert 30 == further_runs(Interval(estimate=1.0, low=1.05**-1.999, high=1.05**1.999), 10)


def test_on_the_edge_of_the_band_no_number_of_runs_is_enough() -> None:
    assert further_runs(Interval(estimate=2.0, low=1.5, high=3.0), 10, band=1.0) is None
