"""A killed runner's trial directories and semaphores are removed by the next command that scans."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Program, enlarge, freeze_trial


@pytest.fixture
def temporary(program: Program) -> Iterator[Path]:
    """Yield a short directory that is the program's directory for temporary files."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as directory:
        program.environment["TMPDIR"] = directory
        yield Path(directory)


@pytest.mark.parametrize("following", ["run", "daemon"])
def test_the_next_command_removes_what_a_killed_one_left(
    program: Program, tree: Path, temporary: Path, following: str
) -> None:
    settings = program.folder / "settings.toml"
    settings.write_text("start_method = 'spawn'\n")
    program.environment["RUNNER_SETTINGS"] = str(settings)
    program.out("schedule", enlarge(tree, 40_000), "--name", "docs", "--every", "1d")
    killed = program.start("run", "docs")
    freeze_trial(killed.pid)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    [left] = os.listdir(temporary)
    assert left.startswith(f"runner-{killed.pid}-")
    if following == "daemon":
        with program.daemon():
            assert left not in os.listdir(temporary)
    else:
        assert 0 == program.call("run", "docs").returncode
    assert [] == os.listdir(temporary)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(program: Program, tree: Path, temporary: Path, number: int) -> None:
    program.out("schedule", enlarge(tree), "--name", "docs", "--every", "1d")
    running = program.start("run", "docs")
    trial = freeze_trial(running.pid)
    assert os.listdir(temporary)
    running.send_signal(number)
    assert 130 == running.wait()
    assert not trial.is_running()
    assert [] == os.listdir(temporary)
