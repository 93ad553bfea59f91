"""``python -m tests.benchmarks.faults``: kills, stops and starves a real daemon, and checks each time what was lost.

In each of several worlds four jobs run over trees that change. After each fault the history is compared with what it
was before, with the clock, with the processes that live, and with find; and nothing may be left behind. The kinds of
faults are in ``fault_processes``, ``fault_shortages``, ``fault_locks`` and ``fault_files``, the checks in
``fault_ledger``. Exits with 1 when anything was found.
"""

import argparse
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from random import Random
from types import FrameType

from tests.benchmarks import fault_files, fault_locks, fault_processes, fault_shortages
from tests.benchmarks.fault_checks import Wrong
from tests.benchmarks.fault_kinds import Kind
from tests.benchmarks.fault_ledger import COLUMNS, Ledger
from tests.benchmarks.fault_system import end_with_parent
from tests.benchmarks.fault_trees import JOBS
from tests.benchmarks.fault_world import START_METHODS, World

KINDS = [*fault_processes.KINDS, *fault_shortages.KINDS, *fault_locks.KINDS, *fault_files.KINDS]
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
        counts: Gets how often each kind came about by each start method, and how often it had which consequence.
    """

    def __init__(self, world: World, kinds: list[Kind], counts: Counter[tuple[str, str]]) -> None:
        self._world = world
        self._kinds = kinds
        self._counts = counts

    def carry_out(self, faults: int) -> None:
        """Inject a number of faults, each followed by a check."""
        ledger = Ledger(self._world)
        self._note("before", ledger.check())
        turns = self._turns()
        done = missed = 0
        while done < faults and missed < _MOST_MISSED:
            kind = next(turns)
            self._world.choose(self._world.random.choice(kind.methods))
            self._world.trees.change(self._world.random.choice(JOBS).name, 3)
            wrong: list[Wrong] = []
            began = time.monotonic()
            try:
                came = kind.inject(self._world) is not False
            except Wrong as one:
                came = True
                wrong = [one]
            injected = time.monotonic()
            done += came
            missed = 0 if came else missed + 1
            self._counts[kind.name, self._world.start_method] += came
            jobs = JOBS if done % _ALL_JOBS_EVERY == 0 else [self._world.random.choice(_QUICK)]
            self._note(kind.name, [*wrong, *ledger.check(jobs)])
            sys.stderr.write(
                f"{done}/{faults} {kind.name}, {self._world.start_method}{'' if came else ', missed'} "
                f"({injected - began:.1f} s and {time.monotonic() - injected:.1f} s)\n"
            )
        self._note("after", [*ledger.check(), *ledger.check_every_list()])

    def _turns(self) -> Iterator[Kind]:
        """Yield the kinds in a random order, again and again, the dear ones less often."""
        turn = 0
        while True:
            turn += 1
            due = [kind for kind in self._kinds if turn % kind.every == 0]
            yield from self._world.random.sample(due, len(due))

    def _note(self, name: str, wrong: list[Wrong]) -> None:
        for one in wrong:
            self._counts[name, one.column] += 1
            sys.stderr.write(f"{name}, {self._world.start_method}: {one.column}: {one.what}\n")


def _carry_out(sender: Connection, faults: int, seed: int, chosen: list[Kind]) -> None:
    """Run a campaign in a world of its own, and send its counts."""
    end_with_parent()
    counts = Counter[tuple[str, str]]()
    world = World(Random(seed))  # noqa: S311  chance, not secrets
    try:
        with world.ended_at_last():
            world.set_up()
            for kind in chosen:
                if reason := kind.needs(world):
                    sys.stderr.write(f"left out: {kind.name}: {reason}\n")
            Campaign(world, [kind for kind in chosen if kind.needs(world) is None], counts).carry_out(faults)
    finally:
        sender.send(counts)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _table(counts: Counter[tuple[str, str]]) -> Iterator[str]:
    """Yield the table of what was tried and found, line by line."""
    columns = [*START_METHODS, *COLUMNS]
    yield f"| fault | {' | '.join(columns)} |"
    yield f"|---|{'--:|' * len(columns)}"
    tried = {name for name, _ in counts}
    for name in (*(kind.name for kind in KINDS if kind.name in tried), *sorted(tried & {"before", "after"})):
        yield f"| {name} | {' | '.join(str(counts[name, column]) for column in columns)} |"
    sums = [sum(count for (_, one), count in counts.items() if one == column) for column in columns]
    yield f"| all | {' | '.join(map(str, sums))} |"


def main() -> None:
    """Run campaigns in several worlds at the same time and print their table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--worlds", type=int, default=max(1, min(4, os.cpu_count() or 1)))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="a kind; can be given several times")
    parser.add_argument("--without", action="append", default=[], help="a kind to leave out; the same")
    given = parser.parse_args()
    names = {kind.name for kind in KINDS}
    if unknown := {*(given.only or ()), *given.without} - names:
        parser.error(f"no such kind: {', '.join(sorted(unknown))}; there are: {', '.join(sorted(names))}")
    chosen = [kind for kind in KINDS if kind.name in (given.only or names) and kind.name not in given.without]
    # A shell ignores ^C for what it starts in the background, and all that descends from it would, too.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _interrupt)
    began = time.monotonic()
    counts = Counter[tuple[str, str]]()
    worlds = []
    context = multiprocessing.get_context("fork")
    for world in range(given.worlds):
        receiver, sender = context.Pipe(duplex=False)
        faults = given.faults * (world + 1) // given.worlds - given.faults * world // given.worlds
        # A daemonic process is ended in order, by SIGTERM, when this one ends.
        process = context.Process(target=_carry_out, args=(sender, faults, given.seed + world, chosen), daemon=True)
        process.start()
        sender.close()
        worlds.append((process, receiver))
    for process, receiver in worlds:
        counts.update(receiver.recv())
        process.join()
    sys.stdout.write("\n".join(_table(counts)) + "\n")
    sys.stdout.write(f"\n{time.monotonic() - began:.0f} s, {given.worlds} worlds, seed {given.seed}\n")
    tried = sum(count for (_, column), count in counts.items() if column in START_METHODS)
    sys.exit(1 if counts.total() > tried or tried < given.faults else 0)


if __name__ == "__main__":
    main()
