"""Random changes, after each of which an incremental scan has to equal a full one.

On each file system, half of the trees are scanned by the rule as it is, with a rest now and then so that folders come
to be relied on; for the other half stamps are relied on after two ticks of the clock, so that nearly every folder is.
"""

import sys
import tempfile
import time
from pathlib import Path

from runner.scan.filesystems import find_filesystem
from runner.scan.rescan import SETTLED_AFTER_NS
from tests.benchmarks.changing import compare, two_ticks_ns
from tests.benchmarks.progress import make_parser, write_head, write_row

# By the rule as it is, how many rounds go between two rests.
_ROUNDS_A_REST = 20


def main() -> None:
    """Test every file system and print a table."""
    given = make_parser(__doc__, rounds=500, trees=6, seed=0, folder=[Path]).parse_args()
    write_head("file system", "relied on after", "rounds", "folders", "not read again", "differences")
    for where in given.folder or [Path("/tmp"), Path("/dev/shm")]:  # noqa: S108  two file systems
        for settled_after_ns in (SETTLED_AFTER_NS, two_ticks_ns()):
            read = there = 0
            wait = _rest if settled_after_ns == SETTLED_AFTER_NS else None
            for number in range(given.trees // 2):
                sys.stderr.write(f"\r{where}, tree {number + 1} of {given.trees // 2} ")
                with tempfile.TemporaryDirectory(dir=where) as folder:
                    seed = given.seed + number
                    counts = compare(
                        Path(folder), rounds=given.rounds, seed=seed, settled_after_ns=settled_after_ns, wait=wait
                    )
                read, there = read + counts[0], there + counts[1]
            kind = find_filesystem(bytes(where)) or str(where)
            rounds = given.rounds * (given.trees // 2)
            write_row(
                kind, f"{settled_after_ns / 1e6:.0f} ms", f"{rounds:,}", f"{there:,}", f"{1 - read / there:.0%}", 0
            )
    sys.stderr.write("\n")


def _rest(number: int) -> None:
    """Make the stamps of all folders become old enough, now and then."""
    if number % _ROUNDS_A_REST == _ROUNDS_A_REST - 1:
        time.sleep(SETTLED_AFTER_NS / 1e9)


if __name__ == "__main__":
    main()
