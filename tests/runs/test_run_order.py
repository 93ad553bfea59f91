from collections import Counter
from math import factorial
from random import Random

import pytest

from runner.runs.order import choose_order


def chance(seed: int) -> Random:
    return Random(seed)  # noqa: S311  chance, not secrets


@pytest.mark.parametrize("strategies", [("sequential", "pool"), ("a", "b", "c"), ("only",)])
def test_each_strategy_goes_first_once_in_every_block(strategies: tuple[str, ...]) -> None:
    random = chance(1)
    first: list[str] = []
    for _ in range(300):
        order = choose_order(strategies, first, random)
        assert sorted(strategies) == sorted(order)
        first.insert(0, order[0])
    first.reverse()
    size = len(strategies)
    blocks = {tuple(first[start : start + size]) for start in range(0, len(first), size)}
    assert {tuple(sorted(strategies))} == {tuple(sorted(block)) for block in blocks}
    assert factorial(size) == len(blocks), "the order within a block is left to chance"


def test_what_follows_the_first_is_left_to_chance() -> None:
    orders = Counter(tuple(choose_order("abc", "a", chance(seed))) for seed in range(200))
    assert {("b", "a", "c"), ("b", "c", "a"), ("c", "a", "b"), ("c", "b", "a")} == set(orders)


def test_a_strategy_that_is_no_longer_used_does_not_count() -> None:
    assert {"a", "b"} == {choose_order("ab", ["old", "old"], chance(seed))[0] for seed in range(20)}
    assert {"b"} == {choose_order("ab", ["old", "a"], chance(seed))[0] for seed in range(20)}
