"""``python -m tests.benchmarks.lopsided``: whether lopsided trees keep both workers busy.

Each shape is scanned by ``sequential`` and by ``pool`` with two workers, interleaved; the table shows how many times as
fast the pool was.
"""

import argparse
import os
import sys
from pathlib import Path
from statistics import median

from runner.model.jobs import Selection, Track
from tests.benchmarks.contest import hold, scan_request, strategy
from tests.benchmarks.trees import kept_tree, recipe_tree


def main() -> None:
    """Hold the contests and print their table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lopsided", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    given = parser.parse_args()
    shapes = {
        "one huge subtree among small ones": kept_tree("huge-subtree", write_huge_subtree),
        "ten thousand folders at the root": kept_tree("many-at-root", write_many_at_root),
        "one folder with a million entries": kept_tree("huge-folder", write_huge_folder),
        "a chain of single folders": recipe_tree("deep"),
    }
    sys.stdout.write("| shape | sequential | pool of 2 | start-up of the pool | speed-up |\n|---|--:|--:|--:|--:|\n")
    for shape, root in shapes.items():
        request = scan_request(os.fsencode(root), Selection(track=Track.NAMES))
        results = hold({name: strategy(name, request) for name in ("sequential", "pool")}, given.rounds)
        alone, shared = (median(results[name].execution_s) for name in ("sequential", "pool"))
        startup = median(results["pool"].startup_s)
        sys.stdout.write(f"| {shape} | {alone:.3f} s | {shared:.3f} s | {startup:.3f} s | {alone / shared:.2f} |\n")


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
