"""Kills, stops and starves a real daemon, and checks each time what was lost.

In each of several worlds four jobs run over trees that change. After each fault the history is compared with what it
was before, with the clock, with the processes that live, and with find; and nothing may be left behind. The kinds of
faults are in ``fault_processes``, ``fault_shortages``, ``fault_locks`` and ``fault_files``, the checks in
``fault_ledger``. ``--only`` and ``--without`` choose kinds by name. Exits with 1 when anything was found.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from multiprocessing.connection import Connection
from random import Random

from tests.benchmarks import fault_files, fault_locks, fault_processes, fault_shortages
from tests.benchmarks.fault_checks import Wrong
from tests.benchmarks.fault_kinds import Kind
from tests.benchmarks.fault_ledger import COLUMNS, Ledger
from tests.benchmarks.fault_system import end_with_parent
from tests.benchmarks.fault_trees import JOBS
from tests.benchmarks.fault_world import START_METHODS, World
from tests.benchmarks.progress import make_parser, write_head, write_row

KINDS = [*fault_processes.KINDS, *fault_shortages.KINDS, *fault_locks.KINDS, *fault_files.KINDS]
# Every so many faults each job has to run undisturbed before the check, and at the end.
_ALL_JOBS_EVERY = 10
_QUICK = [job for job in JOBS if job.every_s == 1]
# A moment that does not come so often in a row will never come.
_MOST_MISSED = 12


Counts = Counter[tuple[str, str]]


def _inject(world: World, kinds: list[Kind], counts: Counts, faults: int) -> None:
    """Inject a number of faults in a world, each followed by a check.

    Args:
        world: What they happen to.
        kinds: Which kinds.
        counts: Gets how often each kind came about by each start method, and how often it had which consequence.
        faults: How many have to come about.
    """

    def note(name: str, found: list[Wrong]) -> None:
        for wrong in found:
            counts[name, wrong.column] += 1
            sys.stderr.write(f"{name}, {world.start_method}: {wrong.column}: {wrong.what}\n")

    ledger = Ledger(world)
    note("before", ledger.check())
    turns = _turns(world.random, kinds)
    done = missed = 0
    while done < faults and missed < _MOST_MISSED:
        kind = next(turns)
        world.choose(world.random.choice(kind.methods))
        world.trees.change(world.random.choice(JOBS).name, 3)
        began = time.monotonic()
        came = True
        try:
            came = kind.inject(world) is not False
        except Wrong as wrong:
            note(kind.name, [wrong])
        injected = time.monotonic()
        done += came
        missed = 0 if came else missed + 1
        counts[kind.name, world.start_method] += came
        note(kind.name, ledger.check(JOBS if done % _ALL_JOBS_EVERY == 0 else [world.random.choice(_QUICK)]))
        took = f"({injected - began:.1f} s and {time.monotonic() - injected:.1f} s)"
        missing = "" if came else ", missed"
        sys.stderr.write(f"{done}/{faults} {kind.name}, {world.start_method}{missing} {took}\n")
    note("after", [*ledger.check(), *ledger.check_every_list()])


def _turns(random: Random, kinds: list[Kind]) -> Iterator[Kind]:
    """Yield the kinds in a random order, again and again, the dear ones less often."""
    for turn in count(1):
        due = [kind for kind in kinds if turn % kind.every == 0]
        yield from random.sample(due, len(due))


def _carry_out(sender: Connection, faults: int, seed: int, chosen: list[Kind]) -> None:
    """Run a campaign in a world of its own, and send its counts."""
    end_with_parent()
    counts = Counts()
    world = World(Random(seed))  # noqa: S311  chance, not secrets
    try:
        with world.ended_at_last():
            world.set_up()
            for kind in chosen:
                if reason := kind.needs(world):
                    sys.stderr.write(f"left out: {kind.name}: {reason}\n")
            _inject(world, [kind for kind in chosen if kind.needs(world) is None], counts, faults)
    finally:
        sender.send(counts)


def _write_table(counts: Counts) -> None:
    """Write the table of what was tried and found."""
    columns = [*START_METHODS, *COLUMNS]
    write_head("fault", *columns)
    tried = {name for name, _ in counts}
    for name in (*(kind.name for kind in KINDS if kind.name in tried), *sorted(tried & {"before", "after"})):
        write_row(name, *(counts[name, column] for column in columns))
    write_row("all", *(sum(count for (_, one), count in counts.items() if one == column) for column in columns))


def main() -> None:
    """Run campaigns in several worlds at the same time and print their table."""
    worlds = max(1, min(4, os.cpu_count() or 1))
    parser = make_parser(__doc__, faults=1000, worlds=worlds, seed=0, only=[str], without=[str])
    given = parser.parse_args()
    names = {kind.name for kind in KINDS}
    without = given.without or []
    if unknown := {*(given.only or ()), *without} - names:
        parser.error(f"no such kind: {', '.join(sorted(unknown))}; there are: {', '.join(sorted(names))}")
    chosen = [kind for kind in KINDS if kind.name in (given.only or names) and kind.name not in without]
    # A shell ignores ^C for what it starts in the background, and all that descends from it would, too.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    began = time.monotonic()
    counts = Counts()
    started = []
    context = multiprocessing.get_context("fork")
    for world in range(given.worlds):
        receiver, sender = context.Pipe(duplex=False)
        faults = given.faults * (world + 1) // given.worlds - given.faults * world // given.worlds
        # A daemonic process is ended in order, by SIGTERM, when this one ends.
        process = context.Process(target=_carry_out, args=(sender, faults, given.seed + world, chosen), daemon=True)
        process.start()
        sender.close()
        started.append((process, receiver))
    for process, receiver in started:
        counts.update(receiver.recv())
        process.join()
    _write_table(counts)
    sys.stdout.write(f"\n{time.monotonic() - began:.0f} s, {given.worlds} worlds, seed {given.seed}\n")
    tried = sum(count for (_, column), count in counts.items() if column in START_METHODS)
    sys.exit(1 if counts.total() > tried or tried < given.faults else 0)


if __name__ == "__main__":
    main()
