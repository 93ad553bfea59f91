"""Which strategy goes first: by chance, but balanced, since whoever scans second finds the cache warm."""

from collections.abc import Sequence
from random import Random


def choose_order(strategies: Sequence[str], went_first: Sequence[str], random: Random) -> list[str]:
    """Choose the order of a run's strategies.

    Runs form blocks of as many as there are strategies; within a block each strategy goes first once.

    Args:
        strategies: The run's strategies, each once.
        went_first: What went first in the job's earlier runs, newest first.
        random: Where chance comes from.

    Returns:
        The strategies in the order in which they are to be carried out.
    """
    block: set[str] = set()
    for strategy in reversed(went_first):
        # A repeat, a full block or a strategy that is no longer used begins a new block.
        if strategy in block or block == set(strategies):
            block = set()
        if strategy in strategies:
            block.add(strategy)
    candidates = [strategy for strategy in strategies if strategy not in block] or list(strategies)
    first = random.choice(candidates)
    rest = [strategy for strategy in strategies if strategy != first]
    random.shuffle(rest)
    return [first, *rest]
