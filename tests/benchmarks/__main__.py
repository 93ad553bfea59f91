"""``python -m tests.benchmarks``: names the benchmarks there are."""

import sys

_BENCHMARKS = {
    "scan": "each strategy beside find, bfs, fd, rg, updatedb and os.walk, interleaved",
    "lopsided": "whether lopsided trees keep both workers busy",
    "steps": "false alarms and detections of steps beside asv's detector and ruptures' PELT",
    "intervals": "how often the 95 % intervals cover the truth, for 6 to 200 runs",
}

for name, told in _BENCHMARKS.items():
    sys.stdout.write(f"python -m tests.benchmarks.{name:9} {told}\n")
