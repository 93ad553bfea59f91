"""The strategies beside the tools a user would pick instead.

All of them list the markdown of one tree whose metadata are in memory, in interleaved rounds of random order. For a
strategy both the execution (from the root's path to the complete list) and the whole (from the start of the trial's
process until its list has arrived) are shown; for a program they are the same. The incremental strategy finds nothing
changed since its last scan; for a run of it the whole is all that a job does, its findings saved in a database.
Ratios are to the median of the fastest of find, bfs, fd, rg and updatedb. A second table shows what saving alone costs.
"""

import os
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from runner.history.database import Database, locate
from runner.history.jobs import add_job
from runner.history.upgrade import open_database
from runner.measure.trial import ScanTask
from runner.measure.trials import carry_out
from runner.model.jobs import JobSpec, Selection, Track
from runner.scan.snapshot import Snapshot
from runner.strategies.base import ScanRequest
from tests.benchmarks.contest import Contestant, Results, hold, middle, program, saved_run, scan_request, strategies
from tests.benchmarks.histories import save_run
from tests.benchmarks.progress import followed, make_parser, write_head, write_row
from tests.benchmarks.trees import recipe_tree

_WALK = "import os, sys; print(sum(n.endswith('.md') for _, _, names in os.walk(sys.argv[1]) for n in names))"
RIVALS = ("find", "bfs", "fd", "rg", "updatedb")


def main() -> None:
    """Run the contest and print its table."""
    given = make_parser(__doc__, recipe="wide", tree=Path, rounds=11, workers=2).parse_args()
    root = given.tree.absolute() if given.tree else recipe_tree(given.recipe)
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        # Where the jobs of the runs remember their trees, rather than among the caches of the user's own.
        os.environ["XDG_CACHE_HOME"] = str(scratch / "caches")
        with closing(open_database(locate(str(scratch / "runs.db")))) as database:
            contestants = programs(root, scratch) | _scans(root, given.workers, scratch) | _runs(root, database)
            _write_table(hold(contestants, given.rounds))
        _write_saving_table(root, scratch)


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


def _scans(root: Path, workers: int, scratch: Path) -> dict[str, Contestant]:
    """Make contestants of every strategy, tracking names as the programs do, and sizes and times as is the default."""
    requests = {track: scan_request(root, workers, scratch / f"cache-{track}", track) for track in Track}
    return {f"{name}, {track}": each for track in Track for name, each in strategies(requests[track]).items()}


def _runs(root: Path, database: Database) -> dict[str, Contestant]:
    """Make contestants of whole runs of jobs that are incremental."""
    made = {}
    for track in Track:
        what = Selection(track=track)
        spec = JobSpec(name=track, root=os.fsencode(root), selection=what, strategies=("incremental",))
        made[f"run of incremental, {track}"] = saved_run(database, add_job(database, spec, datetime.now(UTC)))
    return made


def _write_table(results: Results) -> None:
    best = min(middle(results[name]) for name in RIVALS if name in results)
    write_head("", "execution", "ratio", "whole process", "ratio", "CPU", "peak memory")
    for name, measured in results.items():
        execution, whole, cpu = (middle(measured, figure) for figure in ("execution_s", "whole_s", "cpu_s"))
        peak_bytes = max(each.peak_bytes for each in measured)
        times = [cell for time_s in (execution, whole) for cell in (f"{time_s:.3f} s", f"{time_s / best:.2f}")]
        write_row(name, *times, f"{cpu:.3f} s", f"{peak_bytes / 2**20:.0f} MiB" if peak_bytes else "")
    sys.stdout.write("\n")


def _write_saving_table(root: Path, scratch: Path, runs: int = 100) -> None:
    """Save runs of a tree in a database of their own, and write what they cost: the first, and unchanged ones."""
    request = scan_request(root, cache=scratch / "cache-of-saving", track=Track.STAT)
    path = scratch / "saving.db"
    with closing(open_database(locate(str(path)))) as database:
        spec = JobSpec(name="saving", root=os.fsencode(root), strategies=("incremental",))
        job = add_job(database, spec, datetime.now(UTC))
        first, first_wall_s = _scan(request)
        first_s = save_run(database, job, first, first_wall_s)
        # Comes with its digest, as every incremental scan of an unchanged tree does.
        unchanged, wall_s = _scan(request)
        before = _used_bytes(path)
        saves_s = [save_run(database, job, unchanged, wall_s) for _ in followed(range(runs), "saving", runs)]
        growth_bytes = (_used_bytes(path) - before) / runs
    write_head("what is saved", "cost")
    write_row(f"the first run, {first.files:,} found files", f"{first_s:.2f} s")
    write_row(f"an unchanged run, median of {runs}", f"{1e3 * median(saves_s):.2f} ms")
    write_row("growth of the database by each of those", f"{growth_bytes:,.0f} bytes")


def _scan(request: ScanRequest) -> tuple[Snapshot, float]:
    outcome = carry_out(ScanTask(strategy="incremental", request=request))
    if outcome.message is not None:
        raise SystemExit(f"incremental: {outcome.message}")
    return outcome.value, outcome.wall_s


def _used_bytes(path: Path) -> int:
    """Return how much of a database's file is in use, once all that was written ahead is in it."""
    with closing(sqlite3.connect(path)) as connection:

        def pragma(text: str) -> int:
            return int(connection.execute(f"PRAGMA {text}").fetchone()[0])

        assert not pragma("wal_checkpoint(TRUNCATE)"), "nobody else has it"
        return (pragma("page_count") - pragma("freelist_count")) * pragma("page_size")


if __name__ == "__main__":
    main()
