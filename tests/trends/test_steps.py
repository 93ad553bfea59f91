"""What is a step and what is not, on series as timers give them; NumPy and SciPy are the oracles of the algebra."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.linalg import toeplitz
from scipy.signal import lfilter
from scipy.stats import t as student

from runner.trends import explain, steps, waves
from runner.trends.noise import MODELS, Noise, effect, fit, likelihood, step_gains
from runner.trends.steps import find_steps

Series = NDArray[np.float64]
STEP = math.log(1.22)


def noisy(generator: Generator, n: int = 200, phi: float = 0.0) -> Series:
    """Make AR(1) noise with a standard deviation of 8 %, warmed up so that it starts anywhere."""
    fresh = generator.normal(0, 0.08 * math.sqrt(1 - phi**2), n + 100)
    return np.asarray(lfilter([1], [1, -phi], fresh)[100:])


def with_spikes(generator: Generator) -> Series:
    return noisy(generator) + (generator.random(200) < 0.03) * np.log(generator.uniform(1.5, 5, 200))


def with_cycle(generator: Generator, period: int) -> Series:
    return noisy(generator) + np.log1p(0.1 * np.sin(2 * np.pi * np.arange(200) / period + generator.uniform(0, 7)))


def indices(values: Series) -> list[int]:
    return [step.index for step in find_steps(values.tolist())]


QUIET: dict[str, Callable[[Generator], Series]] = {
    "independent": noisy,
    "AR(1) 0.6": lambda generator: noisy(generator, phi=0.6),
    "AR(1) 0.9": lambda generator: noisy(generator, phi=0.9),
    "spikes": with_spikes,
    "cycle of 24 runs": lambda generator: with_cycle(generator, 24),
    "cycle of 96 runs": lambda generator: with_cycle(generator, 96),
    "cycle of 288 runs": lambda generator: with_cycle(generator, 288),
}


@pytest.mark.parametrize("kind", QUIET)
def test_noise_is_no_step(kind: str) -> None:
    generator = np.random.default_rng(20261122)
    alarms = sum(bool(indices(QUIET[kind](generator))) for _ in range(8))
    # At 2 % each, two of eight come by chance once in a hundred; the benchmark measures the rate itself.
    assert alarms <= 1


@pytest.mark.parametrize(("phi", "at_least"), [(0.0, 8), (0.6, 6), (0.9, 6)])
def test_a_step_is_found_within_five_runs_of_its_place(phi: float, at_least: int) -> None:
    generator = np.random.default_rng(7)
    found = 0
    for start in range(30, 190, 20):
        values = noisy(generator, phi=phi)
        values[start:] += STEP
        found += any(abs(index - start) <= 5 for index in indices(values))
    assert found >= at_least


def test_a_step_is_found_before_more_than_five_runs_have_felt_it() -> None:
    generator = np.random.default_rng(4)
    found = 0
    for start in range(30, 190, 20):
        values = noisy(generator)
        values[start:] += STEP
        found += any(abs(index - start) <= 5 for felt in (5, 4, 3) for index in indices(values[: start + felt]))
    assert found >= 6


def test_a_step_amid_a_daily_cycle_is_found() -> None:
    values = with_cycle(np.random.default_rng(4), 24)
    values[120:] += STEP
    (step,) = find_steps(values.tolist())
    assert abs(step.index - 120) <= 2
    assert step.ratio.low < 1.22 < step.ratio.high


def test_what_got_slower_and_recovered_is_two_steps() -> None:
    values = noisy(np.random.default_rng(5))
    values[100:120] += STEP
    slower, recovered = find_steps(values.tolist())
    assert abs(slower.index - 100) <= 2
    assert abs(recovered.index - 120) <= 2
    assert slower.ratio.low > 1 > recovered.ratio.high


def test_the_ratio_is_the_truth_and_the_levels_are_medians() -> None:
    values = noisy(np.random.default_rng(6))
    values[80:] += STEP
    (step,) = find_steps(values.tolist())
    assert step.ratio.low < 1.22 < step.ratio.high < 1.27
    assert (np.median(values[: step.index]), np.median(values[step.index :])) == (step.before, step.after)


def test_a_wider_confidence_gives_a_wider_interval() -> None:
    values = noisy(np.random.default_rng(6))
    values[80:] += STEP
    (sure,), (surer,) = find_steps(values.tolist(), 0.9), find_steps(values.tolist(), 0.99)
    assert surer.ratio.low < sure.ratio.low < sure.ratio.estimate < sure.ratio.high < surer.ratio.high


def test_a_growing_tree_is_no_slower_disk() -> None:
    generator = np.random.default_rng(9)
    entries = np.where(np.arange(120) < 60, 3000, 4500)
    wall = np.log(1e-5 * entries) + noisy(generator, 120)
    assert 1 == len(indices(wall))
    assert [] == indices(wall - np.log(entries))


def test_one_slow_run_or_two_are_no_step() -> None:
    values = noisy(np.random.default_rng(10), 60)
    values[30:32] += math.log(5)
    values[59] += math.log(5)
    assert [] == indices(values)


def test_a_spike_counts_as_its_neighbours_and_a_fresh_step_as_itself() -> None:
    values = noisy(np.random.default_rng(17), 60)
    values[30], values[58:] = 1.5, STEP
    tamed = steps._tame(values.tolist())
    assert np.median(values[27:34]) == tamed[30]
    assert values[58:].tolist() == tamed[58:]


def test_the_unit_of_time_changes_nothing_and_the_direction_only_the_sign() -> None:
    values = noisy(np.random.default_rng(11), 80)
    values[50:] += STEP
    (step,), (shifted,), (mirrored,) = (find_steps(each.tolist()) for each in (values, values + math.log(1e9), -values))
    assert step.index == shifted.index == mirrored.index
    assert pytest.approx(step.ratio.estimate) == shifted.ratio.estimate
    assert pytest.approx(1 / step.ratio.estimate) == mirrored.ratio.estimate


@pytest.mark.parametrize("n", [0, 11, 12, 13, 40])
def test_equal_runs_have_no_step(n: int) -> None:
    assert [] == find_steps([-1.5] * n)


def test_a_perfect_step_is_found_where_it_is() -> None:
    (step,) = find_steps([0.0] * 20 + [1.0] * 20)
    assert (20, 0.0, 1.0) == (step.index, step.before, step.after)
    assert pytest.approx(math.e) == step.ratio.estimate


def test_two_readings_of_a_coarse_clock_stay_apart() -> None:
    # Most runs lie on the median, which must not make spikes of all the others.
    assert {0.0, 0.875} == set(steps._tame([0.0, 0.0, 0.0, 1.0] * 15))


def test_steps_keep_their_distance_from_the_ends() -> None:
    assert all(3 <= index <= 29 for index in explain.explain([0.0] * 30 + [1.0] * 2).steps)
    assert all(3 <= index <= 29 for index in explain.explain([1.0] * 2 + [0.0] * 30).steps)


@pytest.mark.parametrize(("value", "confidence"), [(math.nan, 0.95), (math.inf, 0.95), (0.0, 0), (0.0, 1)])
def test_what_can_not_be_searched_is_a_defect(value: float, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"finite|between 0 and 1"):
        find_steps([value] * 20, confidence)


@pytest.mark.parametrize("noise", MODELS)
def test_the_gain_of_every_step_is_what_fitting_it_gains(noise: Noise) -> None:
    generator = np.random.default_rng(13)
    values = noisy(generator, 30, 0.5).tolist()
    shapes = [[1.0] * 30, [0.0] * 12 + [1.0] * 18, generator.normal(size=30).tolist()]
    gains = step_gains(fit(values, shapes, noise))
    before = np.square(fit(values, shapes, noise).residuals).sum()
    for start in set(range(1, 30)) - {12}:
        step = [0.0] * start + [1.0] * (30 - start)
        after = np.square(fit(values, [*shapes, step], noise).residuals).sum()
        assert pytest.approx(before - after, abs=1e-9) == gains[30 - start - 1]
    assert 0 == gains[30 - 12 - 1]


def test_a_fit_is_generalised_least_squares() -> None:
    generator = np.random.default_rng(14)
    values, shape = generator.normal(size=25), generator.normal(size=25)
    covariance = toeplitz(0.7 ** np.arange(25)) / (1 - 0.7**2)
    design = np.column_stack([np.ones(25), shape])
    inverse = np.linalg.inv(covariance)
    spread = np.linalg.inv(design.T @ inverse @ design)
    factors = spread @ design.T @ inverse @ values
    left = values - design @ factors
    squares = float(left @ inverse @ left)
    noise = Noise(phi=0.7, theta=0)
    factor, error = effect(values.tolist(), [[1.0] * 25], shape.tolist(), noise)
    assert pytest.approx(factors[1]) == factor
    assert pytest.approx(math.sqrt(squares / 23 * spread[1, 1])) == error
    expected = -25 * math.log(squares / 25) - np.linalg.slogdet(covariance)[1]
    found = fit(values.tolist(), design.T.tolist(), noise)
    assert pytest.approx(expected) == found.likelihood
    assert pytest.approx(expected) == likelihood(squares, 25, noise)


@pytest.mark.parametrize("noise", MODELS)
def test_memory_is_the_variance_over_long_times_over_that_of_one_run(noise: Noise) -> None:
    response = lfilter([1.0, -noise.theta], [1.0, -noise.phi], [1.0, *[0.0] * 5000])
    assert pytest.approx(np.square(response).sum()) == noise.start**2
    assert pytest.approx(response.sum() ** 2 / np.square(response).sum()) == noise.memory


@pytest.mark.parametrize("period", [8.7, 24, 131])
def test_the_best_wave_has_the_period_that_is_there(period: float) -> None:
    values = noisy(np.random.default_rng(15)) + 0.1 * np.sin(2 * np.pi * np.arange(200) / period + 1)
    turn, reached = waves.best_wave(values.tolist(), [[1.0] * 200], MODELS[0])
    assert abs(2 * math.pi / turn - period) < 0.05 * period
    assert reached > fit(values.tolist(), [[1.0] * 200], MODELS[0]).likelihood + explain.NEEDED_WAVE


def test_the_spectrum_is_numpys() -> None:
    values = np.random.default_rng(16).normal(size=64)
    np.testing.assert_allclose(waves._fourier(values.astype(complex).tolist()), np.fft.fft(values), atol=1e-12)


@pytest.mark.parametrize("freedom", [8, 20, 198])
@pytest.mark.parametrize("probability", [0.9, 0.975, 0.995])
def test_students_quantile_is_scipys(probability: float, freedom: int) -> None:
    assert pytest.approx(student.ppf(probability, freedom), rel=3e-3) == steps._student(probability, freedom)
