"""``python -m tests.benchmarks.scan``: the strategies beside the tools a user would pick instead.

All of them list the markdown of one tree whose metadata are in memory, in interleaved rounds of random order. For a
strategy both the execution (from the root's path to the complete list) and the whole (from the start of the trial's
process until its list has arrived) are shown; for a program they are the same. The incremental strategy finds nothing
changed since its last scan; for a run of it the whole is all that a job does, its findings saved in a database.
Ratios are to the median of the fastest of find, bfs, fd, rg and updatedb. A second table shows what saving alone costs.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from runner.history.database import Database, locate
from runner.history.jobs import add_job
from runner.history.upgrade import open_database
from runner.model.jobs import JobSpec, Selection, Track
from tests.benchmarks.contest import Contestant, Times, hold, program, saved_run, scan_request, strategies
from tests.benchmarks.saving import saving_table
from tests.benchmarks.trees import recipe_tree

_WALK = "import os, sys; print(sum(n.endswith('.md') for _, _, names in os.walk(sys.argv[1]) for n in names))"
RIVALS = ("find", "bfs", "fd", "rg", "updatedb")


def main() -> None:
    """Run the contest and print its table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scan", description=__doc__)
    parser.add_argument("--recipe", default="wide", help="the sample tree (default: wide, a million files)")
    parser.add_argument("--tree", type=Path, help="a tree of your own instead; it is only read")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    root = given.tree.absolute() if given.tree else recipe_tree(given.recipe)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        # Where the jobs of the runs remember their trees, rather than among the caches of the user's own.
        os.environ["XDG_CACHE_HOME"] = str(scratch / "caches")
        with closing(open_database(locate(str(scratch / "runs.db")))) as database:
            contestants = programs(root, scratch) | scans(root, given.workers, scratch) | runs(root, database)
            sys.stdout.write(table(hold(contestants, given.rounds)) + "\n")
        sys.stdout.write(saving_table(root, scratch))


def programs(root: Path, scratch: Path) -> dict[str, Contestant]:
    """Make contestants of the programs that are installed."""
    path = str(root)
    fd = shutil.which("fd") or shutil.which("fdfind") or "fd"
    commands = {
        "find": ["find", path, "!", "-type", "d", "-name", "*.md"],
        "bfs": ["bfs", path, "!", "-type", "d", "-name", "*.md"],
        "fd": [fd, "--unrestricted", "--glob", "*.md", path],
        "rg": ["rg", "--files", "-uuu", "--glob", "*.md", path],
        "updatedb": [
            *("updatedb", "--database-root", path, "--output", str(scratch / "locate.db")),
            *("--prunepaths", "", "--prunefs", "", "--require-visibility", "no"),
        ],
        "os.walk": [sys.executable, "-I", "-S", "-c", _WALK, path],
    }
    return {name: program(command) for name, command in commands.items() if shutil.which(command[0])}


def scans(root: Path, workers: int, scratch: Path) -> dict[str, Contestant]:
    """Make contestants of every strategy, tracking names as the programs do, and sizes and times as is the default."""
    made: dict[str, Contestant] = {}
    for track in Track:
        cache = os.fsencode(scratch / f"cache-{track}")
        request = scan_request(os.fsencode(root), Selection(track=track), workers, cache)
        made |= {f"{name}, {track}": each for name, each in strategies(request).items()}
    return made


def runs(root: Path, database: Database) -> dict[str, Contestant]:
    """Make contestants of whole runs of jobs that are incremental."""
    made = {}
    for track in Track:
        spec = JobSpec(
            name=track, root=os.fsencode(root), selection=Selection(track=track), strategies=("incremental",)
        )
        made[f"run of incremental, {track}"] = saved_run(database, add_job(database, spec, datetime.now(UTC)))
    return made


def table(results: Mapping[str, Times]) -> str:
    """Format medians and ratios as a Markdown table."""
    best = min(median(results[name].execution_s) for name in RIVALS if name in results)
    lines = [
        "| | execution | ratio | whole process | ratio | CPU | peak memory |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, times in results.items():
        execution, whole, cpu = (median(each) for each in (times.execution_s, times.whole_s, times.cpu_s))
        peak = f"{max(times.peak_bytes) / 2**20:.0f} MiB" if times.peak_bytes else ""
        lines.append(
            f"| {name} | {execution:.3f} s | {execution / best:.2f} | {whole:.3f} s | {whole / best:.2f} "
            f"| {cpu:.3f} s | {peak} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
