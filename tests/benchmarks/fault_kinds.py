"""What a kind of fault is, and how its moment is found.

A kind brings its fault about at a random moment of real runs, waits for what has to come of it at once, and takes away
what would hold up others. It returns False if the moment did not come, and raises Wrong for what must not be.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from tests.benchmarks.fault_checks import Hang, check, wait_for
from tests.benchmarks.fault_system import trials
from tests.benchmarks.fault_world import START_METHODS, World

Fault = Callable[[World], object]

# How long a moment is waited for; every job has had a run before that.
MOMENT_S = 8.0


def _needs_nothing(_world: World) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: Its name in the table.
        inject: Brings it about.
        every: In one round of how many it has its turn.
        needs: Returns why it can't be brought about in a world; None if it can.
        methods: How the workers are started.
    """

    name: str
    inject: Fault
    every: int = 1
    needs: Callable[[World], str | None] = _needs_nothing
    methods: tuple[str, ...] = START_METHODS


def needs_mounts(world: World) -> str | None:
    """Return why mounts can't be used; None if they can."""
    return None if world.mounts else "mounts are not permitted"


def rest(world: World, most_s: float, least_s: float = 0.0) -> None:
    """Wait for a random time."""
    time.sleep(world.random.uniform(least_s, most_s))


def moment(look: Callable[[], int | None]) -> int | None:
    """Wait for a process to be at some point, very often asked; None if it does not come."""
    try:
        return wait_for(look, "a moment", MOMENT_S, 0.0005)
    except Hang:
        return None


def any_trial(world: World) -> int | None:
    """Wait for a trial process of any job."""
    return moment(lambda: next(iter(trials(world.pid())), None))


def trial_of(world: World, job: str, ready: Callable[[int], bool] = lambda _trial: True) -> int | None:
    """Wait for a trial process of a job that is ready for something."""

    def look() -> int | None:
        found = next(filter(ready, trials(world.pid())), None)
        return found if found is not None and world.is_running(job) else None

    return moment(look)


def expect(world: World, codes: Collection[int | None], *command: str, says: str = "") -> None:
    """Run a command and check how it ends, and that its messages contain *says* if it fails."""
    code, _, messages = world.ask(*command)
    check(command, codes, code, messages, says=says)
