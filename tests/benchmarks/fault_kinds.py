"""What a kind of fault is. To add one, write a function that takes the world and enter it by ``@KINDS.enter``.

A kind brings its fault about at a random moment of real runs, waits for what has to come of it at once, and takes away
what would hold up others. It returns False if the moment did not come, and raises Hang if something did not end.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.fault_world import Hang, World, wait_for

Fault = Callable[[World], bool | None]

# How long a moment is waited for; every job has had a run by then.
MOMENT_S = 8.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: How it is told.
        inject: Brings it about.
        every: In one round of how many it has its turn.
        needs: Says why it can't be brought about in a world; None if it can.
    """

    name: str
    inject: Fault
    every: int
    needs: Callable[[World], str | None]


def _nothing(_world: World) -> None:
    return None


class Kinds(list[Kind]):
    """Kinds of faults, in the order in which they were entered."""

    def enter(
        self, name: str, *, every: int = 1, needs: Callable[[World], str | None] = _nothing
    ) -> Callable[[Fault], Fault]:
        """Enter a function as a kind of fault."""

        def entering(inject: Fault) -> Fault:
            self.append(Kind(name=name, inject=inject, every=every, needs=needs))
            return inject

        return entering


def rest(world: World, most_s: float, least_s: float = 0.0) -> None:
    """Let the world go on for a random time."""
    time.sleep(world.random.uniform(least_s, most_s))


def moment(look: Callable[[], int | None]) -> int | None:
    """Wait for a process to be at some point, very often asked; None if it does not come."""
    try:
        return wait_for(look, "a moment", MOMENT_S, 0.0005)
    except Hang:
        return None
