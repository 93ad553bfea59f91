"""Several first runs of one directory at the same time, by real processes, on each kind of database."""

import os
import subprocess
from pathlib import Path

from conftest import Program, enlarge

from runner.history.jobs import list_jobs


def test_first_runs_at_once_register_one_job(place: str, tmp_path: Path, tree: Path) -> None:
    program = Program(folder=tmp_path, environment={**os.environ, "RUNNER_DB": place})
    enlarge(tree)
    spellings: list[str | Path] = [tree, f"{tree}/", "docs", "./docs", f"/{tree}", f"{tree}/part-0/..", "docs/.", tree]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = [program.start("run", target, "--format", "json", **options) for target in spellings]
    ended = [(*process.communicate(timeout=120), process.returncode) for process in started]
    with program.opened() as database:
        jobs = list_jobs(database)
    assert ["docs"] == [job.spec.name for job in jobs]
    assert os.fsencode(tree) == jobs[0].spec.root
    assert {0} <= {code for _, _, code in ended} <= {0, 1}
    assert 1 == sum(b"is created as job" in err for _, err, _ in ended)
    for _, err, code in ended:
        (last,) = err.splitlines()[-1:] or [b""]
        assert code == 0 or (last.startswith(b"runner: ") and b"is running" in last), err
    assert sum(code == 0 for _, _, code in ended) == len(program.history("succeeded"))
