"""How long listings of a large tree take beyond the start-up, and how much memory.

A history is written whose job has one tree of many files, a hundred in each directory. Each question is asked by the
program itself, as a user would, interleaved with ``runner jobs``, which is answered at once. The table shows medians of
the wall and CPU time beyond that in the same round, and the largest peak memory. The database is the one that is named,
a path or a URL, empty at first; else a scratch file.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from statistics import median

from runner.history.database import locate
from runner.history.upgrade import open_database
from tests.benchmarks.histories import tree_directory, write_tree
from tests.benchmarks.progress import make_parser, reporting, write_head, write_row

_START = "jobs"
# Seconds beyond the start-up, for a million files; questions about one directory take no longer in larger trees.
_TARGETS = {"files -0": 1.5, "files -0 --under DIR": 0.05}
_QUESTIONS = (
    *("files -0", "files --format jsonl", "files --format csv", "files", "files --by-folder", "changes --format jsonl"),
    *("show 1 --format json", "files -0 --under DIR", "changes --under DIR", "changes --by-folder --under DIR"),
)


def main() -> None:
    """Write the history, ask, and print a table."""
    given = make_parser(__doc__, files=1_000_000, rounds=5, db=str, ask=[str]).parse_args()
    with tempfile.TemporaryDirectory() as scratch, reporting() as tell:
        tell("writing the history")
        named = given.db or f"{scratch}/history.db"
        database = open_database(locate(named))
        write_tree(database, given.files)
        database.close()
        questions = given.ask or _QUESTIONS
        figures: dict[str, list[tuple[float, float, int]]] = {name: [] for name in (_START, *questions)}
        for number in range(given.rounds):
            tell(f"round {number + 1} of {given.rounds}")
            for name in random.sample(list(figures), len(figures)):
                figures[name].append(ask(_words(name), named))
    starts = figures.pop(_START)
    sys.stdout.write(f"{given.files:,} files; start-up {median(wall_s for wall_s, *_ in starts):.2f} s\n\n")
    write_head("question", "wall beyond the start-up", "CPU", "peak memory", "target")
    for name, found in figures.items():
        wall_s, cpu_s = (
            median(one[part] - start[part] for one, start in zip(found, starts, strict=True)) for part in (0, 1)
        )
        target = f"{_TARGETS[name]:g} s" if name in _TARGETS else ""
        write_row(name, f"{wall_s:.2f} s", f"{cpu_s:.2f} s", f"{max(one[2] for one in found) / 2**20:.0f} MiB", target)


def _words(question: str) -> str:
    command, *others = question.replace("DIR", os.fsdecode(tree_directory(7))).split()
    job = () if command in {"show", _START} else ("job-0000",)
    since = ("--to", "1") if command == "changes" else ()
    return " ".join((command, *job, *since, *others))


def ask(words: str, database: str) -> tuple[float, float, int]:
    """Run a command; return wall time and CPU time in seconds, and peak memory in bytes."""
    command = [sys.executable, "-m", "runner", *words.split()]
    environment = {**os.environ, "RUNNER_DB": database, "PYTHONDONTWRITEBYTECODE": ""}
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
