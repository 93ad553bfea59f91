"""The strategies of a scan, behind one Protocol."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.strategies.base import Strategy

# Loaded by name, so that a trial process imports only its own strategy: multiprocessing alone takes four times as long
# to import as Python to start.
STRATEGIES = {
    "sequential": "runner.strategies.sequential:Sequential",
    "pool": "runner.strategies.pool:Pool",
    "incremental": "runner.strategies.incremental:Incremental",
}


def load_strategy(name: str) -> Strategy:
    """Load a strategy by its name."""
    module, _, attribute = STRATEGIES[name].partition(":")
    strategy: Strategy = getattr(import_module(module), attribute)()
    return strategy
