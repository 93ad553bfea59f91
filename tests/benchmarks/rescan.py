"""What a rescan costs when 0, 1, 100 or 10,000 folders have changed.

A tree of its own, 200,000 files in 10,101 folders. In so many folders, others each time, a file is added, or removed
where it was added before; then the incremental strategy goes beside the others and the programs a user would pick
instead, in interleaved rounds of random order. Before each change, and when the stamps of the one before are old
enough to be relied on, all that remember the tree are brought up to date. All list the names of the markdown. Times
are medians of the execution, for a program of the whole process; ratios are of the incremental strategy to what stands
before them.
"""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random

from runner.samples.recipe import Level
from runner.scan.rescan import SETTLED_AFTER_NS
from runner.strategies.base import ScanRequest
from runner.strategies.incremental import Incremental
from tests.benchmarks.contest import Contestant, Results, hold_round, middle, scan_request, strategies
from tests.benchmarks.fuzz import counted_listings
from tests.benchmarks.progress import make_parser, reporting, write_head, write_row
from tests.benchmarks.scan import RIVALS, programs
from tests.benchmarks.snapshots import scanned
from tests.benchmarks.trees import shaped_tree

_CHANGES = (0, 1, 100, 10_000)
# What uses what it found the last time; updatedb looks into its database for folders whose times are the same.
_REMEMBERING = ("incremental", "updatedb")
# A little more than the rule asks for: sleeping goes by another clock than stamps.
_SETTLED_AFTER_S = SETTLED_AFTER_NS / 1e9 + 0.1


def main() -> None:
    """Edit, scan, and print the table."""
    given = make_parser(__doc__, rounds=11, workers=2).parse_args()
    levels = (("group", 0), ("leaf", 20))
    root = shaped_tree("rescan", *(Level(name=f"{name}-###", folders=100, files=(each, each)) for name, each in levels))
    with tempfile.TemporaryDirectory() as scratch:
        request = scan_request(root, given.workers, Path(scratch, "cache"))
        rivals = {name: each for name, each in programs(root, Path(scratch)).items() if name in RIVALS}
        results, read = _rescan(root, request, strategies(request) | rivals, given.rounds)
    write_head(
        *("folders changed", "folders read", "incremental", "sequential", "ratio", "pool", "ratio"),
        *("fastest rival", "ratio"),
        first="--:",
    )
    for count, contest in results.items():
        medians = {name: middle(measured) for name, measured in contest.items()}
        own = medians["incremental"]
        best = min((name for name in medians if name in RIVALS), key=medians.__getitem__)
        cells = [f"{1e3 * medians[name]:.1f} ms | {own / medians[name]:.2f}" for name in ("sequential", "pool", best)]
        write_row(f"{count:,}", f"{read[count]:,}", f"{1e3 * own:.1f} ms", *cells[:2], f"{best}, {cells[2]}")


def _rescan(
    root: Path, request: ScanRequest, contestants: Mapping[str, Contestant], rounds: int
) -> tuple[dict[int, Results], dict[int, int]]:
    """Run the rounds, after one that does not count.

    Returns:
        For each number of changes what each contestant needed, and how many folders the incremental scan read.
    """
    random = Random(0)  # noqa: S311  chance, not secrets
    leaves = sorted(root.glob("group-*/leaf-*"))
    results: dict[int, Results] = {count: {name: [] for name in contestants} for count in _CHANGES}
    read = {}
    changed_s = time.monotonic()  # by those who had the tree before
    with reporting() as tell:
        for number in range(rounds + 1):
            for count in random.sample(_CHANGES, len(_CHANGES)):
                tell(f"round {number} of {rounds}, {count:,} folders changed")
                time.sleep(max(0.0, changed_s + _SETTLED_AFTER_S - time.monotonic()))
                for name in contestants.keys() & _REMEMBERING:
                    contestants[name]()
                for leaf in random.sample(leaves, count):
                    _change(leaf / "changed.md")
                    changed_s = time.monotonic()
                if not number:
                    # What is remembered stays, as the scan is never ended.
                    with counted_listings() as counts:
                        scanned(Incremental(), request)
                    read[count] = counts[0]
                hold_round(contestants, results[count] if number else None, random)
    return results, read


def _change(path: Path) -> None:
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        path.unlink()


if __name__ == "__main__":
    main()
