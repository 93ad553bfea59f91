"""How much memory a run takes in each process when many files are found.

Each tree has a hundred files in each directory, hard links so that it is small, and they all are found. A job of the
strategies is run four times by a process of its own: first, again without a change, after a file was added in every
tenth directory, and again. A cell shows the peak resident memory of the largest process of each execution, and of
runner's own process, of which the history is a part. The trees are removed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from runner.execution.executor import fire
from runner.history.database import locate
from runner.history.jobs import add_job, get_job
from runner.history.runs import get_run
from runner.history.upgrade import open_database
from runner.model.jobs import JobSpec
from runner.scan.rescan import SETTLED_AFTER_NS
from tests.benchmarks.progress import followed, make_parser, write_head, write_row

_LINKS = 100
_RUNS = {"first": False, "unchanged": False, "a tenth changed": True, "unchanged again": False}


def main() -> None:
    """Write the trees, run the jobs and print a table."""
    options = {"files": [int], "strategy": [str], "where": Path(tempfile.gettempdir()), "run": str}
    given = make_parser(__doc__, **options).parse_args()
    if given.run:
        return _run(given.run)
    strategies = given.strategy or ["sequential", "pool", "incremental"]
    write_head("found files", "run", "wall", *strategies, "runner itself")
    for files in given.files or [1_000_000, 5_000_000]:
        with tempfile.TemporaryDirectory(dir=given.where) as scratch:
            tree, database = Path(scratch, "tree"), Path(scratch, "runner.db")
            _write_tree(tree, files)
            os.environ["XDG_CACHE_HOME"] = f"{scratch}/caches"
            with closing(open_database(locate(str(database)))) as opened:
                spec = JobSpec(name="memory", root=os.fsencode(tree), strategies=tuple(strategies))
                add_job(opened, spec, datetime.now(UTC))
            for name, is_changed in _RUNS.items():
                for directory in sorted(tree.iterdir())[::10] if is_changed else ():
                    os.link(directory / "0.md", directory / f"{time.time_ns()}.md")
                time.sleep(SETTLED_AFTER_NS / 1e9)
                command = [sys.executable, "-m", "tests.benchmarks", "memory", "--run", str(database)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                write_row(f"{files:,}", name, *done.stdout.split(";"))
            subprocess.run([shutil.which("rm") or "rm", "-rf", "--", tree], check=True)
    return None


def _write_tree(root: Path, files: int) -> None:
    for number in followed(range(files // _LINKS), f"writing {root}", files // _LINKS):
        directory = f"{root}/{number:06}"
        os.makedirs(directory)  # noqa: PTH103  faster
        os.close(os.open(f"{directory}/0.md", os.O_CREAT | os.O_WRONLY))
        for link in range(1, _LINKS):
            os.link(f"{directory}/0.md", f"{directory}/{link}.md")


def _run(database: str) -> None:
    """Run the job, and write the peaks of its executions and of this process."""
    with closing(open_database(locate(database))) as opened:
        job = get_job(opened, "memory")
        run = get_run(opened, fire(opened, job))
    executions = {one.strategy: one.max_rss_bytes for one in run.executions}
    [own] = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    peaks = [executions[name] or 0 for name in job.spec.strategies]
    cells = [f"{peak / 2**20:.0f} MiB" for peak in (*peaks, int(own) * 1024)]
    sys.stdout.write(";".join([f"{run.wall_s:.1f} s", *cells]))


if __name__ == "__main__":
    main()
