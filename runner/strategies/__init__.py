"""How a tree is scanned: each strategy behind one Protocol, all of them in one registry."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.strategies.base import Strategy

# Where each strategy is, so that a trial imports the one it carries out and no other: multiprocessing alone takes
# four times as long to import as Python to start.
STRATEGIES = {
    "sequential": "runner.strategies.sequential:Sequential",
    "pool": "runner.strategies.pool:Pool",
    "incremental": "runner.strategies.incremental:Incremental",
}


def load_strategy(name: str) -> Strategy:
    """Give a strategy by its name."""
    module, _, attribute = STRATEGIES[name].partition(":")
    strategy: Strategy = getattr(import_module(module), attribute)()
    return strategy
