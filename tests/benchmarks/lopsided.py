"""``python -m tests.benchmarks.lopsided``: whether lopsided trees keep both workers busy.

Each shape is scanned by ``sequential`` and by ``pool`` with two workers, interleaved; the table shows how many times as
fast the pool was, with its 95 % interval. What two processes can do on this machine at all is shown beside it: two
sequential scans at once, which share nothing, are as many times as fast as one after the other.
"""

import argparse
import os
import sys
from pathlib import Path
from statistics import median

from runner.model.jobs import Selection, Track
from runner.trends.scaling import speed_up
from tests.benchmarks.contest import at_once, hold, scan_request, strategy
from tests.benchmarks.trees import kept_tree, recipe_tree


def main() -> None:
    """Run the contests and print their table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lopsided", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    given = parser.parse_args()
    shapes = {
        "one huge subtree among small ones": kept_tree("huge-subtree", write_huge_subtree),
        "ten thousand folders at the root": kept_tree("many-at-root", write_many_at_root),
        "one folder with a million entries": kept_tree("huge-folder", write_huge_folder),
        "a chain of single folders": recipe_tree("deep"),
    }
    sys.stdout.write("| shape | sequential | pool of 2 | start-up of the pool | speed-up | two at once |\n")
    sys.stdout.write("|---|--:|--:|--:|--:|--:|\n")
    for shape, root in shapes.items():
        request = scan_request(os.fsencode(root), Selection(track=Track.NAMES))
        alone = strategy("sequential", request)
        results = hold({"alone": alone, "pool": strategy("pool", request), "two": at_once(alone)}, given.rounds)
        alone_s, pool_s, two_s = (median(results[name].execution_s) for name in ("alone", "pool", "two"))
        gain = speed_up(results["alone"].execution_s, results["pool"].execution_s)
        sys.stdout.write(
            f"| {shape} | {alone_s:.3f} s | {pool_s:.3f} s | {median(results['pool'].startup_s):.3f} s"
            f" | {gain.estimate:.2f} ({gain.low:.2f} to {gain.high:.2f}) | {2 * alone_s / two_s:.2f} |\n"
        )


def write_huge_subtree(root: Path) -> None:
    """Write a hundred small folders, and one that holds 400,000 files four levels down."""
    for number in range(100):
        _write_files(root / f"small-{number:03}", 20)
    for top in range(20):
        for middle in range(20):
            for leaf in range(10):
                _write_files(root / "huge" / f"{top:02}" / f"{middle:02}" / f"{leaf:02}", 100)


def write_many_at_root(root: Path) -> None:
    """Write ten thousand folders of fifty files."""
    for number in range(10_000):
        _write_files(root / f"{number:05}", 50)


def write_huge_folder(root: Path) -> None:
    """Write a folder of a million files."""
    _write_files(root / "huge", 1_000_000)


def _write_files(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    fd = os.open(folder, os.O_RDONLY)
    try:
        for number in range(count):
            name = f"{number:07}.md" if number % 10 == 0 else f"{number:07}.txt"
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    finally:
        os.close(fd)


if __name__ == "__main__":
    main()
