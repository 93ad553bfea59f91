from itertools import pairwise
from random import Random

import pytest

from runner.runs.order import choose_order


def first_of_each_run(strategies: list[str], runs: int, seed: int) -> list[str]:
    random = Random(seed)  # noqa: S311
    went_first: list[str] = []
    for _ in range(runs):
        went_first.insert(0, choose_order(strategies, went_first, random)[0])
    return went_first[::-1]


@pytest.mark.parametrize("strategies", [["s", "p"], ["s", "p", "i"]])
def test_within_each_block_of_runs_every_strategy_goes_first_once(strategies: list[str]) -> None:
    n = len(strategies)
    for seed in range(100):
        firsts = first_of_each_run(strategies, 6 * n, seed)
        assert [sorted(strategies)] * 6 == [sorted(firsts[i : i + n]) for i in range(0, 6 * n, n)]


def test_who_opens_a_block_is_chance() -> None:
    opens = [first_of_each_run(["s", "p"], 3, seed)[::2] for seed in range(1_000)]
    for run in range(2):
        # Five standard deviations of a fair coin.
        assert abs(sum(each[run] == "s" for each in opens) - 500) < 5 * (1_000 * 0.25) ** 0.5
    repeats = sum(b == c for b, c in (first_of_each_run(["s", "p"], 3, seed)[1:] for seed in range(1_000)))
    assert abs(repeats - 500) < 5 * (1_000 * 0.25) ** 0.5


def test_no_strategy_ever_goes_first_three_times_in_a_row() -> None:
    firsts = first_of_each_run(["s", "p"], 1_000, 1)
    assert not any(a == b == c for (a, b), (_, c) in pairwise(list(pairwise(firsts))))


def test_every_strategy_is_carried_out_once_and_the_rest_in_any_order() -> None:
    orders = {tuple(choose_order(["s", "p", "i"], [], Random(seed))) for seed in range(200)}  # noqa: S311
    assert 6 == len(orders)
    assert {("i", "p", "s")} == {tuple(sorted(order)) for order in orders}


def test_a_strategy_no_longer_used_does_not_upset_the_balance() -> None:
    for seed in range(20):
        assert "p" == choose_order(["s", "p"], ["s", "old", "p", "s"], Random(seed))[0]  # noqa: S311


def test_a_single_strategy_goes_first() -> None:
    assert ["s"] == choose_order(["s"], ["s", "s"], Random(0))  # noqa: S311
