"""What is to be handed over later: the next attempts of failed runs, and what has met a run by hand."""

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from runner.daemon.workers import Firing
from runner.model.runs import Cause


@dataclass(frozen=True, slots=True)
class _Moment:
    """By two clocks, of which one is set by people, and the other stands still while the machine sleeps."""

    by_s: float
    at: datetime

    def has_come(self) -> bool:
        return time.monotonic() >= self.by_s or datetime.now(UTC) >= self.at


class Later:
    """Firings that are each due after a while, by whichever clock shows that first; each is there once."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, Cause, datetime], tuple[_Moment, Firing]] = {}

    def put(self, firing: Firing, delay_s: float) -> None:
        """Let a firing be due after so long from now, and not when it was to be due before."""
        moment = _Moment(time.monotonic() + delay_s, datetime.now(UTC) + timedelta(seconds=delay_s))
        self._waiting[_key(firing)] = (moment, firing)

    def remove(self, firing: Firing) -> None:
        """Let it be due no more."""
        self._waiting.pop(_key(firing), None)

    def list_due(self) -> list[Firing]:
        """List what is due by now, in the order in which it was put."""
        return [firing for moment, firing in self._waiting.values() if moment.has_come()]

    def next_s(self) -> float:
        """Tell when something is due next, by ``time.monotonic`` alone; infinite if nothing is."""
        return min((moment.by_s for moment, _ in self._waiting.values()), default=math.inf)


def _key(firing: Firing) -> tuple[int, Cause, datetime]:
    return firing.job.job_id, firing.cause, firing.times[0]
