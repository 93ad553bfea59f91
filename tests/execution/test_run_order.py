from itertools import pairwise
from random import Random

import pytest

from runner.execution.order import choose_order


def first_of_each_run(strategies: tuple[str, ...], runs: int, seed: int) -> list[str]:
    random = Random(seed)  # noqa: S311
    went_first: list[str] = []
    for _ in range(runs):
        went_first.insert(0, choose_order(strategies, went_first, random)[0])
    return went_first[::-1]


def test_of_any_two_consecutive_runs_one_starts_with_each_strategy() -> None:
    for seed in range(100):
        firsts = first_of_each_run(("sequential", "pool"), 20, seed)
        assert all({"sequential", "pool"} == set(pair) for pair in pairwise(firsts))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_of_as_many_runs_as_there_are_strategies_each_goes_first_once(count: int) -> None:
    strategies = tuple("abcd"[:count])
    for seed in range(50):
        firsts = first_of_each_run(strategies, 6 * count, seed)
        for start in range(5 * count):
            assert list(strategies) == sorted(firsts[start : start + count])


def test_who_goes_first_in_the_first_run_is_chance() -> None:
    opens = [first_of_each_run(("s", "p"), 1, seed)[0] for seed in range(1_000)]
    # Five standard deviations of a fair coin.
    assert abs(opens.count("s") - 500) < 5 * (1_000 * 0.25) ** 0.5


def test_what_follows_the_first_is_left_to_chance() -> None:
    orders = {tuple(choose_order(("s", "p", "i"), [], Random(seed))) for seed in range(200)}  # noqa: S311
    assert 6 == len(orders)
    assert {("i", "p", "s")} == {tuple(sorted(order)) for order in orders}


def test_a_strategy_that_is_no_longer_used_does_not_count() -> None:
    for seed in range(20):
        assert "p" == choose_order(("s", "p"), ["old", "s", "old", "p"], Random(seed))[0]  # noqa: S311
