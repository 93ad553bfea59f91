"""``python -m tests.benchmarks.faults``: kills, stops and starves a real daemon, and looks each time what was lost.

Four jobs run over trees that change. After each fault the history is compared with what it was before, with the clock,
with the processes that live, and with find; the kinds of faults are in ``fault_processes`` and
``fault_files``, what is looked at in ``fault_ledger``. Exits with 1 when anything was found.
"""

import argparse
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from random import Random
from types import FrameType

from tests.benchmarks import fault_files, fault_processes
from tests.benchmarks.fault_kinds import Kind
from tests.benchmarks.fault_ledger import COLUMNS, Ledger, Wrong
from tests.benchmarks.fault_world import JOBS, Hang, World

KINDS = [*fault_processes.KINDS, *fault_files.KINDS]
# Every so many faults each job has to run undisturbed before the check, and at the end.
_ALL_JOBS_EVERY = 10
_QUICK = [job for job in JOBS if job.every_s == 1]
# A moment that does not come so often in a row will never come.
_MOST_MISSED = 12


class Campaign:
    """So many faults in one world, and what was found after each.

    Args:
        world: What they happen to.
        kinds: Which kinds.
    """

    def __init__(self, world: World, kinds: list[Kind]) -> None:
        self._world = world
        self._kinds = kinds
        self.times: Counter[str] = Counter()
        self.found: dict[str, Counter[str]] = defaultdict(Counter)

    def carry_out(self, faults: int) -> None:
        """Bring about so many faults, each followed by a check."""
        ledger = Ledger(self._world)
        self._note("before", ledger.check())
        turns = self._turns()
        missed = 0
        while self.times.total() < faults and missed < _MOST_MISSED:
            kind = next(turns)
            self._world.change(self._world.random.choice(JOBS).name, 3)
            wrong: list[Wrong] = []
            began = time.monotonic()
            try:
                came = kind.inject(self._world) is not False
            except Hang as hang:
                came = True
                wrong = [Wrong(column="hangs", what=str(hang))]
            self.times[kind.name] += came
            injected = time.monotonic()
            missed = 0 if came else missed + 1
            every_job = self.times.total() % _ALL_JOBS_EVERY == 0
            self._note(kind.name, [*wrong, *ledger.check(JOBS if every_job else [self._world.random.choice(_QUICK)])])
            sys.stderr.write(f"\r{self.times.total()} of {faults} faults; {kind.name} "
                             f"({injected - began:.1f} s and {time.monotonic() - injected:.1f} s){'':20}")  # fmt: skip
        self._note("after", [*ledger.check(), *ledger.check_every_list()])
        sys.stderr.write("\n")

    def _turns(self) -> Iterator[Kind]:
        """Give the kinds in a random order, again and again, the dear ones less often."""
        turn = 0
        while True:
            turn += 1
            due = [kind for kind in self._kinds if turn % kind.every == 0]
            yield from self._world.random.sample(due, len(due))

    def _note(self, name: str, wrong: list[Wrong]) -> None:
        for one in wrong:
            self.found[name][one.column] += 1
            sys.stderr.write(f"\n{name}: {one.column}: {one.what}\n")

    def table(self) -> Iterator[str]:
        """Give the table of what was tried and found, line by line."""
        yield f"| fault | times | {' | '.join(COLUMNS)} |"
        yield f"|---|--:|{'--:|' * len(COLUMNS)}"
        names = [*(kind.name for kind in self._kinds), *(name for name in ("before", "after") if name in self.found)]
        for name in names:
            yield f"| {name} | {self.times[name]} | {' | '.join(str(self.found[name][one]) for one in COLUMNS)} |"
        sums = Counter[str]()
        for found in self.found.values():
            sums += found
        yield f"| all | {self.times.total()} | {' | '.join(str(sums[one]) for one in COLUMNS)} |"


def main() -> None:
    """Carry out a campaign and print its table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="a kind; can be given several times")
    parser.add_argument("--without", action="append", default=[], help="a kind to leave out; the same")
    given = parser.parse_args()
    names = {kind.name for kind in KINDS}
    if unknown := {*(given.only or ()), *given.without} - names:
        parser.error(f"no such kind: {', '.join(sorted(unknown))}; there are: {', '.join(sorted(names))}")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    began = time.monotonic()
    world = World(Random(given.seed))  # noqa: S311  chance, not secrets
    with world.ended_at_last():
        world.set_up()
        chosen = [kind for kind in KINDS if kind.name in (given.only or names) and kind.name not in given.without]
        for kind in chosen:
            if reason := kind.needs(world):
                sys.stderr.write(f"left out: {kind.name}: {reason}\n")
        campaign = Campaign(world, [kind for kind in chosen if kind.needs(world) is None])
        try:
            campaign.carry_out(given.faults)
        finally:
            sys.stdout.write("\n".join(campaign.table()) + "\n")
            sys.stdout.write(f"\n{time.monotonic() - began:.0f} s, seed {given.seed}\n")
    sys.exit(1 if any(campaign.found.values()) or campaign.times.total() < given.faults else 0)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
