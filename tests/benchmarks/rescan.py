"""``python -m tests.benchmarks.rescan``: what a rescan costs when 0, 1, 100 or 10,000 folders have changed.

A tree of its own, 200,000 files in 10,101 folders. In so many folders, others each time, a file is added, or removed
where it was added before; then the incremental strategy goes beside the others and the programs a user would pick
instead, in interleaved rounds of random order. Before each change, and when the stamps of the one before are old
enough to be relied on, all that remember the tree are brought up to date. All list the names of the markdown. Times
are medians of the execution, for a program of the whole process; ratios are of the incremental strategy to what stands
before them.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random
from statistics import median

from runner.model.jobs import Selection, Track
from runner.samples.recipe import Level
from runner.scan.rescan import SETTLED_AFTER_NS
from runner.strategies.base import ScanRequest
from runner.strategies.incremental import Incremental
from tests.benchmarks.changing import counted_listings
from tests.benchmarks.contest import Contestant, Times, hold_round, scan_request, strategies
from tests.benchmarks.progress import reporting
from tests.benchmarks.scan import RIVALS, programs
from tests.benchmarks.trees import shaped_tree

_CHANGES = (0, 1, 100, 10_000)
# What uses what it found the last time; updatedb looks into its database for folders whose times are the same.
_REMEMBERING = ("incremental", "updatedb")
# A little more than the rule asks for: sleeping goes by another clock than stamps.
_SETTLED_AFTER_S = SETTLED_AFTER_NS / 1e9 + 0.1


def main() -> None:
    """Edit, scan, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.rescan", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    root = shaped_tree(
        "rescan",
        Level(name="group-###", folders=100, files=(0, 0)),
        Level(name="leaf-###", folders=100, files=(20, 20)),
    )
    with tempfile.TemporaryDirectory() as scratch:
        cache = os.fsencode(Path(scratch, "cache"))
        request = scan_request(os.fsencode(root), Selection(track=Track.NAMES), given.workers, cache)
        rivals = {name: each for name, each in programs(root, Path(scratch)).items() if name in RIVALS}
        results, read = rescan(root, request, strategies(request) | rivals, given.rounds)
    sys.stdout.write(table(results, read))


def rescan(
    root: Path, request: ScanRequest, contestants: Mapping[str, Contestant], rounds: int
) -> tuple[dict[int, dict[str, Times]], dict[int, int]]:
    """Run the rounds, after one that does not count.

    Args:
        root: The tree, which is changed.
        request: Asks the incremental strategy for it.
        contestants: By their names.
        rounds: How many of them count, each with every number of changes.

    Returns:
        For each number of changes the times of each contestant, and how many folders the incremental scan read.
    """
    random = Random(0)  # noqa: S311  chance, not secrets
    leaves = sorted(root.glob("group-*/leaf-*"))
    results = {count: {name: Times() for name in contestants} for count in _CHANGES}
    read = {}
    changed_s = time.monotonic()  # by those who had the tree before
    with reporting() as tell:
        for number in range(rounds + 1):
            for count in random.sample(_CHANGES, len(_CHANGES)):
                tell(f"round {number} of {rounds}, {count:,} folders changed")
                time.sleep(max(0.0, changed_s + _SETTLED_AFTER_S - time.monotonic()))
                for name in _REMEMBERING:
                    if name in contestants:
                        contestants[name](Times())
                if count:
                    change(random.sample(leaves, count))
                    changed_s = time.monotonic()
                if not number:
                    read[count] = folders_read(request)
                hold_round(contestants, results[count] if number else {name: Times() for name in contestants}, random)
    return results, read


def change(folders: Iterable[Path]) -> None:
    """Add a file to each of these folders, or remove it where it is there already."""
    for folder in folders:
        path = folder / "changed.md"
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            path.unlink()


def folders_read(request: ScanRequest) -> int:
    """Count the folders that an incremental scan reads; what is remembered stays, as the scan is never ended."""
    with counted_listings() as counts:
        Incremental().scan(request, lambda *_: None)
    return counts[0]


def table(results: Mapping[int, Mapping[str, Times]], read: Mapping[int, int]) -> str:
    """Format medians and ratios as a Markdown table."""
    lines = [
        "| folders changed | folders read | incremental | sequential | ratio | pool | ratio | fastest rival | ratio |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for count, times in results.items():
        medians = {name: median(each.execution_s) for name, each in times.items()}
        own = medians["incremental"]
        best = min((name for name in medians if name in RIVALS), key=medians.__getitem__)
        cells = [f"{1e3 * medians[name]:.1f} ms | {own / medians[name]:.2f}" for name in ("sequential", "pool")]
        cells.append(f"{best}, {1e3 * medians[best]:.1f} ms | {own / medians[best]:.2f}")
        lines.append(f"| {count:,} | {read[count]:,} | {1e3 * own:.1f} ms | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
