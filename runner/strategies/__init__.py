"""The strategies of a scan, behind one Protocol."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.strategies.base import Strategy

# Each is a class of that name in a module of that name. The strategy dask is not listed: it needs an extra, and only
# its own documentation names it.
STRATEGIES = ("sequential", "pool", "incremental")


def load_strategy(name: str) -> Strategy:
    """Load a strategy by its name.

    A trial process imports only its own: multiprocessing alone takes four times as long to import as Python to start.
    """
    strategy: Strategy = getattr(import_module(f"runner.strategies.{name}"), name.capitalize())()
    return strategy
