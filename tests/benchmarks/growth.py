"""How the cost of each strategy grows with the tree, from 10,000 files to a million.

Trees of 10,000 to 1,000,000 files in folders of a hundred, a tenth of them markdown, whose names alone are asked for;
all metadata are in memory, and nothing has changed since the incremental scan before. In each size the strategies and
find and bfs go through interleaved rounds of random order. A cell shows the median execution and in parentheses what
each entry costs; for a program that is the whole process, its start included. The last line is the exponent of
growth: 1 where twice the files take twice the time.
"""

import tempfile
from math import log
from pathlib import Path
from statistics import linear_regression

from runner.samples.recipe import Level
from tests.benchmarks.contest import Results, hold, middle, scan_request, strategies
from tests.benchmarks.progress import make_parser, write_head, write_row
from tests.benchmarks.scan import programs
from tests.benchmarks.trees import recipe_tree, shaped_tree

# How many groups are in each of ten areas, and how many leaves in each group; a leaf has a hundred files.
_SHAPES = {10_000: (2, 5), 32_000: (4, 8), 100_000: (5, 20), 320_000: (8, 40)}
_PROGRAMS = ("find", "bfs")


def main() -> None:
    """Run a contest for each size and print their table."""
    given = make_parser(__doc__, rounds=11, workers=2).parse_args()
    # The sample tree of just that shape has a million files, in twenty groups of fifty leaves.
    trees = {files: _tree(files, *shape) for files, shape in _SHAPES.items()} | {1_000_000: recipe_tree("wide")}
    results: dict[int, Results] = {}
    for files, root in trees.items():
        with tempfile.TemporaryDirectory() as scratch:
            request = scan_request(root, given.workers, Path(scratch, "cache"))
            rivals = {name: each for name, each in programs(root, Path(scratch)).items() if name in _PROGRAMS}
            results[files] = hold(strategies(request) | rivals, given.rounds)
    _write_table(results)


def _tree(files: int, groups: int, leaves: int) -> Path:
    shape = (("area", 10, 0), ("group", groups, 0), ("leaf", leaves, 100))
    levels = (Level(name=f"{name}-##", folders=folders, files=(each, each)) for name, folders, each in shape)
    return shaped_tree(f"growth-{files}", *levels)


def _write_table(results: dict[int, Results]) -> None:
    """Write medians, costs of an entry and, from the slopes through the logarithms, exponents."""
    names = list(results[max(results)])
    write_head("files", *names, first="--:")
    for files, contest in results.items():
        entries = max(contest[name][0].entries for name in names)
        medians = [middle(contest[name]) for name in names]
        write_row(f"{files:,}", *(f"{1e3 * each:,.2f} ms ({1e9 * each / entries:,.0f} ns)" for each in medians))
    sizes = [log(files) for files in results]
    times = {name: [log(middle(contest[name])) for contest in results.values()] for name in names}
    write_row("exponent", *(f"{linear_regression(sizes, times[name]).slope:.2f}" for name in names))


if __name__ == "__main__":
    main()
