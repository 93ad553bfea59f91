"""``python -m tests.benchmarks.fuzz``: random changes, after each of which an incremental scan has to equal a full one.

On each file system, half of the trees are scanned by the rule as it is, with a rest now and then so that folders come
to be relied on; for the other half stamps are relied on after two ticks of the clock, so that nearly every folder is.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from runner.scan.filesystems import find_filesystem
from runner.scan.rescan import SETTLED_AFTER_NS
from tests.benchmarks.changing import compare, two_ticks_ns

# By the rule as it is, how many rounds go between two rests.
_ROUNDS_A_REST = 20


def main() -> None:
    """Test every file system and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fuzz", description=__doc__)
    parser.add_argument("--rounds", type=int, default=500, help="of each tree")
    parser.add_argument("--trees", type=int, default=6, help="on each file system")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, action="append", help="where; default /tmp and /dev/shm")
    given = parser.parse_args()
    sys.stdout.write("| file system | relied on after | rounds | folders | not read again | differences |\n")
    sys.stdout.write("|---|--:|--:|--:|--:|--:|\n")
    for where in given.folder or [Path("/tmp"), Path("/dev/shm")]:  # noqa: S108  two file systems
        for settled_after_ns in (SETTLED_AFTER_NS, two_ticks_ns()):
            read = there = 0
            for number in range(given.trees // 2):
                sys.stderr.write(f"\r{where}, tree {number + 1} of {given.trees // 2} ")
                with tempfile.TemporaryDirectory(dir=where) as folder:
                    counts = compare(
                        Path(folder),
                        rounds=given.rounds,
                        seed=given.seed + number,
                        settled_after_ns=settled_after_ns,
                        wait=rest if settled_after_ns == SETTLED_AFTER_NS else None,
                    )
                read, there = read + counts[0], there + counts[1]
            kind = find_filesystem(bytes(where)) or str(where)
            sys.stdout.write(
                f"| {kind} | {settled_after_ns / 1e6:.0f} ms | {given.rounds * (given.trees // 2):,} | {there:,} "
                f"| {1 - read / there:.0%} | 0 |\n"
            )
    sys.stderr.write("\n")


def rest(number: int) -> None:
    """Make the stamps of all folders become old enough, now and then."""
    if number % _ROUNDS_A_REST == _ROUNDS_A_REST - 1:
        time.sleep(SETTLED_AFTER_NS / 1e9)


if __name__ == "__main__":
    main()
