"""The order of strategies in a run: random but balanced, as the second one finds the cache warm."""

from collections.abc import Sequence
from random import Random


def choose_order(strategies: Sequence[str], first_strategies: Sequence[str], random: Random) -> list[str]:
    """Choose the order of a run's strategies.

    The one that went first longest ago goes first: of two consecutive runs of two strategies each goes first once.

    Args:
        strategies: The run's strategies, each once.
        first_strategies: The first strategies of the job's earlier runs, newest first.
        random: The source of chance.
    """
    recent = [strategy for strategy in first_strategies if strategy in strategies][: len(strategies) - 1]
    first = random.choice([strategy for strategy in strategies if strategy not in recent])
    rest = [strategy for strategy in strategies if strategy != first]
    random.shuffle(rest)
    return [first, *rest]
