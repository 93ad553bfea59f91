"""Which strategy goes first: by chance, but balanced, since whoever scans second finds the cache warm."""

from collections.abc import Sequence
from random import Random


def choose_order(strategies: Sequence[str], went_first: Sequence[str], random: Random) -> list[str]:
    """Choose the order of a run's strategies.

    The first run's is left to chance. From then on whoever has waited longest goes first, so that of two consecutive
    runs of two strategies one starts with each.

    Args:
        strategies: The run's strategies, each once.
        went_first: What went first in the job's earlier runs, newest first.
        random: Where chance comes from.

    Returns:
        The strategies in the order in which they are to be carried out.
    """
    recent = [strategy for strategy in went_first if strategy in strategies][: len(strategies) - 1]
    first = random.choice([strategy for strategy in strategies if strategy not in recent])
    rest = [strategy for strategy in strategies if strategy != first]
    random.shuffle(rest)
    return [first, *rest]
