"""Whether lopsided trees keep both workers busy.

Each shape is scanned by ``sequential`` and by ``pool`` with two workers, interleaved; the table shows how many times as
fast the pool was, with its 95 % interval. What two processes can do on this machine at all is shown beside it: two
sequential scans at once, which share nothing, are as many times as fast as one after the other.
"""

import os
from pathlib import Path

from runner.trends.scaling import speed_up
from tests.benchmarks.contest import at_once, hold, middle, scan_request, strategy
from tests.benchmarks.progress import make_parser, write_head, write_row
from tests.benchmarks.trees import kept_tree, recipe_tree


def main() -> None:
    """Run the contests and print their table."""
    given = make_parser(__doc__, rounds=11).parse_args()
    shapes = {
        "one huge subtree among small ones": kept_tree("huge-subtree", _write_huge_subtree),
        "ten thousand folders at the root": kept_tree("many-at-root", _write_many_at_root),
        "one folder with a million entries": kept_tree("huge-folder", _write_huge_folder),
        "a chain of single folders": recipe_tree("deep"),
    }
    write_head("shape", "sequential", "pool of 2", "start-up of the pool", "speed-up", "two at once")
    for shape, root in shapes.items():
        request = scan_request(root)
        alone = strategy("sequential", request)
        results = hold({"alone": alone, "pool": strategy("pool", request), "two": at_once(alone)}, given.rounds)
        alone_s, pool_s, two_s = (middle(results[name]) for name in ("alone", "pool", "two"))
        gain = speed_up(*([each.execution_s for each in results[name]] for name in ("alone", "pool")))
        startup_s = middle(results["pool"], "startup_s")
        cells = [f"{time_s:.3f} s" for time_s in (alone_s, pool_s, startup_s)]
        write_row(
            shape, *cells, f"{gain.estimate:.2f} ({gain.low:.2f} to {gain.high:.2f})", f"{2 * alone_s / two_s:.2f}"
        )


def _write_huge_subtree(root: Path) -> None:
    """Write a hundred small folders, and one that holds 400,000 files four levels down."""
    for number in range(100):
        _write_files(root / f"small-{number:03}", 20)
    for number in range(4_000):
        _write_files(root / "huge" / f"{number // 200:02}" / f"{number // 10 % 20:02}" / f"{number % 10:02}", 100)


def _write_many_at_root(root: Path) -> None:
    for number in range(10_000):
        _write_files(root / f"{number:05}", 50)


def _write_huge_folder(root: Path) -> None:
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
