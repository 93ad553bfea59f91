"""``python -m tests.benchmarks.growth``: how the cost of each strategy grows with the tree.

Trees of 10,000 to 1,000,000 files in folders of a hundred, a tenth of them markdown, whose names alone are asked for;
all metadata are in memory, and nothing has changed since the incremental scan before. In each size the strategies and
find and bfs go through interleaved rounds of random order. A cell shows the median execution and in parentheses what
each entry costs; for a program that is the whole process, its start included. The last line is the exponent of
growth: 1 where twice the files take twice the time.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from math import log
from pathlib import Path
from statistics import linear_regression, median

from runner.model.jobs import Selection, Track
from runner.samples.recipe import Level
from tests.benchmarks.contest import Times, hold, scan_request, strategies
from tests.benchmarks.scan import programs
from tests.benchmarks.trees import recipe_tree, shaped_tree

# How many groups are in each of ten areas, and how many leaves in each group; a leaf has a hundred files.
_SHAPES = {10_000: (2, 5), 32_000: (4, 8), 100_000: (5, 20), 320_000: (8, 40)}
# The sample tree of just that shape, with twenty groups of fifty leaves.
_LARGEST = 1_000_000
_PROGRAMS = ("find", "bfs")


def main() -> None:
    """Run a contest for each size and print their table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.growth", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11, help="for each size")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    trees = {files: growth_tree(files) for files in _SHAPES} | {_LARGEST: recipe_tree("wide")}
    with tempfile.TemporaryDirectory() as scratch:
        results = {
            files: contest(root, Path(scratch, str(files)), given.rounds, given.workers)
            for files, root in trees.items()
        }
    sys.stdout.write(table(results))


def growth_tree(files: int) -> Path:
    """Return the tree with so many files, which has an entry in _SHAPES."""
    groups, leaves = _SHAPES[files]
    return shaped_tree(
        f"growth-{files}",
        Level(name="area-##", folders=10, files=(0, 0)),
        Level(name="group-##", folders=groups, files=(0, 0)),
        Level(name="leaf-##", folders=leaves, files=(100, 100)),
    )


def contest(root: Path, scratch: Path, rounds: int, workers: int) -> dict[str, Times]:
    """Run the contest on one tree."""
    scratch.mkdir()
    request = scan_request(os.fsencode(root), Selection(track=Track.NAMES), workers, os.fsencode(scratch / "cache"))
    rivals = {name: each for name, each in programs(root, scratch).items() if name in _PROGRAMS}
    return hold(strategies(request) | rivals, rounds)


def table(results: Mapping[int, Mapping[str, Times]]) -> str:
    """Format medians, costs of an entry and exponents as a Markdown table, from results by size and contestant."""
    names = list(results[_LARGEST])
    lines = [f"| files | {' | '.join(names)} |", f"|--:|{'--:|' * len(names)}"]
    for files, times in results.items():
        entries = max(times[name].entries for name in names)
        medians = [median(times[name].execution_s) for name in names]
        cells = [f"{1e3 * each:,.2f} ms ({1e9 * each / entries:,.0f} ns)" for each in medians]
        lines.append(f"| {files:,} | {' | '.join(cells)} |")
    exponents = [
        exponent({files: median(times[name].execution_s) for files, times in results.items()}) for name in names
    ]
    lines.append(f"| exponent | {' | '.join(f'{each:.2f}' for each in exponents)} |")
    return "\n".join(lines) + "\n"


def exponent(times: Mapping[int, float]) -> float:
    """Fit the power of the size with which the time grows.

    Args:
        times: Seconds by number of files, at least two.

    Returns:
        The slope of the line through the logarithms that has the least squares; dimensionless.
    """
    return linear_regression([log(files) for files in times], [log(time_s) for time_s in times.values()]).slope


if __name__ == "__main__":
    main()
