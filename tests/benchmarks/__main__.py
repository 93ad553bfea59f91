"""``python -m tests.benchmarks NAME``: names the benchmarks there are."""

import sys

_BENCHMARKS = {
    "scan": "each strategy beside find, bfs, fd, rg, updatedb and os.walk, interleaved",
    "growth": "how each strategy's cost grows from 10,000 to 1,000,000 files",
    "rescan": "what 0, 1, 100 and 10,000 changed folders cost a rescan",
    "lopsided": "whether lopsided trees keep both workers busy",
    "fuzz": "whether incremental equals a full scan after random changes, thousands of times",
}

for name, told in _BENCHMARKS.items():
    sys.stdout.write(f"python -m tests.benchmarks.{name:9} {told}\n")
