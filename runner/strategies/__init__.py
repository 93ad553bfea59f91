"""How a tree is scanned: each strategy behind one Protocol, all of them in one registry."""

from runner.strategies.base import Strategy
from runner.strategies.pool import Pool
from runner.strategies.sequential import Sequential

STRATEGIES: dict[str, Strategy] = {"sequential": Sequential(), "pool": Pool()}
