"""``python -m tests.benchmarks.scale``: whether questions are still answered at once in a history of a million runs.

A synthetic history is written, then every question is asked by the program itself, as a user would, interleaved with
the program's start on an empty database; the table shows the medians, and the median of what a question takes beyond
the start in the same round.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from runner.history.database import locate
from runner.history.upgrade import open_database
from tests.benchmarks.histories import write_history
from tests.benchmarks.progress import reporting

_QUESTIONS = {
    "history": ["history"],
    "history of a job": ["history", "job-0500"],
    "show": ["show", "RUN"],
    "jobs": ["jobs"],
    "files --at 2d": ["files", "job-0500", "--at", "2d"],
    "files --by-folder": ["files", "job-0500", "--by-folder"],
    "changes --since 1d": ["changes", "job-0500", "--since", "1d"],
    "trends --since 90d": ["trends", "job-0500", "--since", "90d"],
}


def main() -> None:
    """Write the history, ask, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--db", help="an empty database to use, a path or URL; else a scratch file")
    parser.add_argument("--start-db", help="one that stays empty, of the same kind; else a scratch file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, reporting() as tell:
        tell("writing the history")
        named = given.db or str(Path(scratch, "history.db"))
        database = open_database(locate(named))
        began = time.perf_counter()
        write_history(database, n_runs=given.runs, n_jobs=given.jobs, n_files=given.files)
        database.close()
        written_s = time.perf_counter() - began
        empty = given.start_db or str(Path(scratch, "empty.db"))
        open_database(locate(empty)).close()
        for words in _QUESTIONS.values():  # has the bytecode of each written, which an installed tool has
            _ask([word.replace("RUN", "1") for word in words], named)
        times: dict[str, list[float]] = {name: [] for name in ("start", *_QUESTIONS)}
        for number in range(given.rounds):
            tell(f"round {number + 1} of {given.rounds}")
            for name in random.sample(list(times), len(times)):
                words = [word.replace("RUN", str(given.runs // 2)) for word in _QUESTIONS.get(name, ["history"])]
                times[name].append(_ask(words, empty if name == "start" else named))
    starts = times.pop("start")
    sys.stdout.write(
        f"{given.runs:,} runs of {given.jobs:,} jobs, {given.files:,} files; written in {written_s:.0f} s\n\n"
    )
    sys.stdout.write(f"| question | wall | beyond the start-up of {median(starts):.2f} s |\n|---|--:|--:|\n")
    for name, walls in times.items():
        beyond = median(wall - start for wall, start in zip(walls, starts, strict=True))
        sys.stdout.write(f"| {name} | {median(walls):.2f} s | {beyond:.2f} s |\n")


def _ask(words: list[str], database: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "runner", *words],
        env={**os.environ, "RUNNER_DB": database, "PYTHONDONTWRITEBYTECODE": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
