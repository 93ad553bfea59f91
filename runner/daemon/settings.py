"""The settings of a daemon."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from runner.history.prune import Retention
from runner.strategies.base import Cluster


@dataclass(frozen=True, kw_only=True, slots=True)
class DaemonSettings:
    """What a person sets for a daemon.

    Attributes:
        start_method: How pool workers are started.
        cluster: Where the strategy dask finds its workers; None for this machine.
        at_once: The number of concurrent runs.
        retention: Returns which runs are kept at an instant; None if all are.
    """

    start_method: str
    cluster: Cluster | None = None
    at_once: int = 1
    retention: Callable[[datetime], Retention] | None = None
