"""Scaling and break-even: published numbers, lines whose crossing is known, and simulations with a known truth."""

import math
from random import Random

import pytest

from runner.trends.compare import NotEnoughRuns
from runner.trends.scaling import NoBreakEven, Rung, break_even, serial_fraction, speed_up


@pytest.mark.parametrize(
    ("measured", "workers", "expected"),
    [(2.0, 2, 0.0), (1.0, 2, 1.0), (1.6, 2, 0.25), (4.0, 8, 1 / 7), (1.5, 4, 5 / 9)],
)
def test_the_serial_fraction_solves_amdahls_law(measured: float, workers: int, expected: float) -> None:
    fraction = serial_fraction(measured, workers)
    assert fraction == pytest.approx(expected)
    assert fraction is not None
    assert measured == pytest.approx(1 / (fraction + (1 - fraction) / workers))


@pytest.mark.parametrize(("measured", "workers"), [(1.0, 1), (3.0, 1), (0.99, 2)])
def test_without_a_speed_up_there_is_no_serial_fraction(measured: float, workers: int) -> None:
    assert serial_fraction(measured, workers) is None


def test_a_speed_up_is_how_many_times_as_fast() -> None:
    fast = speed_up([2.0, 2.2, 2.1, 2.3], [1.0, 1.1, 1.05, 1.15])
    assert fast.low <= 2.0 <= fast.high
    assert fast.estimate == pytest.approx(2.0, abs=0.1)
    with pytest.raises(NotEnoughRuns):
        speed_up([1.0] * 3, [1.0] * 3)


def rung(entries: int, start_s: float = 0.01, rounds: int = 8, noise: float = 0.0, seed: int = 0) -> Rung:
    """Return times by a law: 1 µs for each entry alone, half of that after a start in the pool."""
    random = Random(entries + seed)  # noqa: S311  chance, not secrets
    alone = [entries * 1e-6 * math.exp(random.gauss(0, noise)) for _ in range(rounds)]
    pool = [(start_s + entries * 0.5e-6) * math.exp(random.gauss(0, noise)) for _ in range(rounds)]
    return Rung(entries=entries, sequential_s=alone, pool_s=pool)


def test_the_break_even_size_is_where_the_lines_cross() -> None:
    found = break_even([rung(1_000_000), rung(100), rung(10_000), rung(100_000)])
    assert (found.low, found.estimate, found.high) == pytest.approx((20_000,) * 3)


def test_the_interval_of_the_break_even_size_mostly_covers_it() -> None:
    sizes = (100, 1_000, 10_000, 100_000, 1_000_000)
    covered = 0
    for seed in range(60):
        found = break_even([rung(size, noise=0.08, seed=seed * 7) for size in sizes])
        assert found.low <= found.estimate <= found.high
        covered += found.low <= 20_000 <= found.high
    assert covered >= 50


@pytest.mark.parametrize(
    ("rungs", "said"),
    [
        ([], "span too little for a break-even size: 0 of them; it takes 3"),
        ([rung(100), rung(100_000)], "2 of them, from 100 to 100,000 entries"),
        ([rung(20_000), rung(50_000), rung(100_000)], "3 of them, from 20,000 to 100,000 entries; .* 10 times"),
        ([rung(10), rung(100), rung(1_000)], "no faster at any size, up to 1,000 entries"),
        ([rung(10, 0.0), rung(100, 0.0), rung(1_000, 0.0)], "faster at every size, from 10 entries up"),
    ],
)
def test_where_no_size_can_be_told_that_is_said(rungs: list[Rung], said: str) -> None:
    with pytest.raises(NoBreakEven, match=said):
        break_even(rungs)


def test_a_bound_beyond_what_was_measured_is_open() -> None:
    # Only half of the rounds of the largest size are faster, so that some draws never cross.
    largest = Rung(entries=1_000, sequential_s=[1.0] * 8, pool_s=[0.5] * 5 + [1.5] * 3)
    smaller = [Rung(entries=size, sequential_s=[0.1] * 8, pool_s=[0.2] * 8) for size in (10, 100)]
    assert math.inf == break_even([*smaller, largest]).high
