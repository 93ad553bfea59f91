"""A command that lacks memory, descriptors or threads says so in one line and exits with 1."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Program

RUN = [sys.executable, "-m", "runner"]


def limited(program: Program, limits: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command under limits of the shell's ``ulimit``."""
    return subprocess.run(
        ["sh", "-c", f'{limits}; exec "$@"', "sh", *RUN, *arguments],
        cwd=program.folder, env=program.environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def assert_blames_the_machine(program: Program, done: subprocess.CompletedProcess[str]) -> None:
    """Fail unless a command did all it should, or failed with one line, or recorded a run as failed."""
    assert done.returncode in {0, 1}, (done.returncode, done.stderr)
    for word in ("Traceback", "defect", "None"):
        assert word not in done.stdout + done.stderr
    if done.returncode == 1:
        assert 1 == done.stderr.count("runner: ") or program.history("failed"), done.stderr


@pytest.mark.parametrize("limit", ["-v 45000", "-v 62000", "-v 67000", "-n 5", "-n 7", "-n 10", "-n 16", "-n 20"])
def test_a_run_that_lacks_something_blames_the_machine(program: Program, tree: Path, limit: str) -> None:
    program.out("schedule", tree, "--name", "docs", "--every", "1d")
    assert_blames_the_machine(program, limited(program, f"ulimit {limit}", "run", "docs"))


@pytest.mark.parametrize("command", ["run", "daemon"])
def test_a_lack_of_threads_blames_the_machine(program: Program, tree: Path, command: str) -> None:
    """A thread's stack is as large as the limit of the main one, and does not fit in here."""
    program.out("schedule", tree, "--name", "docs", "--every", "1d")
    done = limited(program, f"ulimit -s {2**46 // 1024}", command, *(["docs"] if command == "run" else []))
    assert_blames_the_machine(program, done)
    assert 1 == done.returncode
    assert "can't start new thread" in done.stdout + done.stderr
