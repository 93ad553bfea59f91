"""Whether questions are still answered at once in a history of a million runs.

A synthetic history is written, then every question is asked by the program itself, as a user would, interleaved with
the program's start on an empty database; the table shows the medians, and the median of what a question takes beyond
the start in the same round. Databases are those that are named, paths or URLs, empty at first and of the same kind;
else scratch files.
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
from tests.benchmarks.histories import write_history
from tests.benchmarks.progress import make_parser, reporting, write_head, write_row

_QUESTIONS = {
    "history": "history",
    "history of a job": "history job-0500",
    "show": "show RUN",
    "jobs": "jobs",
    "files --at 2d": "files job-0500 --at 2d",
    "files --by-folder": "files job-0500 --by-folder",
    "changes --since 1d": "changes job-0500 --since 1d",
    "trends --since 90d": "trends job-0500 --since 90d",
}


def main() -> None:
    """Write the history, ask, and print a table."""
    options = {"runs": 1_000_000, "jobs": 1_000, "files": 100_000, "rounds": 15, "db": str, "start_db": str}
    given = make_parser(__doc__, **options).parse_args()
    with tempfile.TemporaryDirectory() as scratch, reporting() as tell:
        tell("writing the history")
        named = given.db or f"{scratch}/history.db"
        empty = given.start_db or f"{scratch}/empty.db"
        open_database(locate(empty)).close()
        database = open_database(locate(named))
        began = time.perf_counter()
        write_history(database, n_runs=given.runs, n_jobs=given.jobs, n_files=given.files)
        database.close()
        written_s = time.perf_counter() - began
        for words in _QUESTIONS.values():  # has the bytecode of each written, which an installed tool has
            _ask(words, 1, named)
        times: dict[str, list[float]] = {name: [] for name in ("start", *_QUESTIONS)}
        for number in range(given.rounds):
            tell(f"round {number + 1} of {given.rounds}")
            for name in random.sample(list(times), len(times)):
                words = _QUESTIONS.get(name, "history")
                times[name].append(_ask(words, given.runs // 2, empty if name == "start" else named))
    starts = times.pop("start")
    what = f"{given.runs:,} runs of {given.jobs:,} jobs, {given.files:,} files"
    sys.stdout.write(f"{what}; written in {written_s:.0f} s\n\n")
    write_head("question", "wall", f"beyond the start-up of {median(starts):.2f} s")
    for name, walls in times.items():
        beyond = median(wall - start for wall, start in zip(walls, starts, strict=True))
        write_row(name, f"{median(walls):.2f} s", f"{beyond:.2f} s")


def _ask(words: str, run: int, database: str) -> float:
    command = [sys.executable, "-m", "runner", *words.replace("RUN", str(run)).split()]
    environment = {**os.environ, "RUNNER_DB": database, "PYTHONDONTWRITEBYTECODE": ""}
    began = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
