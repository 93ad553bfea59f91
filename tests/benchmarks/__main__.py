"""``python -m tests.benchmarks``: names the benchmarks there are."""

import sys

_BENCHMARKS = {
    "scan": "each strategy beside find, bfs, fd, rg, updatedb and os.walk, interleaved",
    "growth": "how the cost of each strategy grows from 10,000 files to a million",
    "rescan": "what a rescan costs when 0, 1, 100 or 10,000 folders have changed",
    "fuzz": "random changes, after each of which an incremental scan has to equal a full one",
    "faults": "a daemon that is killed, stopped and starved at random, and what its history has lost",
    "lopsided": "whether lopsided trees keep both workers busy",
    "year": "whether a daemon fires right through whole years, by a simulated clock",
    "idle": "what a daemon with a thousand jobs costs while nothing is due, and its memory over a simulated day",
    "startup": "the CPU time of short commands beside that of importing their libraries",
    "scale": "whether questions are answered at once in a history of a million runs",
    "consistency": "whether every answer given during changes is that of a single state",
    "steps": "false alarms and detections of steps beside asv's detector and ruptures' PELT",
    "intervals": "how often the 95 % intervals cover the truth, for 6 to 200 runs",
}

for name, told in _BENCHMARKS.items():
    sys.stdout.write(f"python -m tests.benchmarks.{name:11} {told}\n")
