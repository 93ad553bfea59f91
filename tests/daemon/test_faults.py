"""A short campaign of faults at random moments; a long one by ``python -m tests.benchmarks.faults``."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHEAP = (
    "daemon killed in mid-run",
    "daemon killed as it starts",
    "trial stopped as it starts, daemon killed",
    "worker killed, busy",
    "SIGTERM",
    "run lock held",
    "planted links, daemon alive",
    "root replaced by a file in mid-scan",
)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked for in /proc")
def test_random_faults_lose_and_duplicate_nothing() -> None:
    chosen = [word for name in CHEAP for word in ("--only", name)]
    given = ["--faults", str(len(CHEAP)), "--worlds", "1", "--seed", "5"]
    command = [sys.executable, "-m", "tests.benchmarks.faults", *given, *chosen]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=110, text=True)
    assert 0 == done.returncode, done.stdout + done.stderr
    (sums,) = (line.split("|")[2:-1] for line in done.stdout.splitlines() if line.startswith("| all |"))
    tried, found = [int(sum_) for sum_ in sums[:3]], [int(sum_) for sum_ in sums[3:]]
    assert (len(CHEAP), 0) == (sum(tried), sum(found))
