"""A killed runner's trial directories and semaphores are removed by the next command that scans."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Program, changed, enlarge, freeze_trial

# Each transaction of a save writes two rows, and the second is the last.
KILLED = """
import os
from runner.history.recording import finish_run
from runner.history.saving import RunWriter
finish_run.__kwdefaults__["max_rows"] = 2
left = 2
def pause(_writer):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), 9)
RunWriter._pause = pause
"""


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
    program.out("schedule", enlarge(tree), "--name", "docs", "--every", "1d")
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


@pytest.mark.parametrize("following", ["history", "daemon"])
def test_a_run_killed_while_it_is_saved_leaves_no_findings(program: Program, tree: Path, following: str) -> None:
    program.out("schedule", tree, "--name", "docs", "--every", "1d")
    assert "succeeded" == program.json("run", "docs")["status"]
    before = program.json("files", "docs"), program.json("changes", "docs")
    for number in range(9):
        (tree / f"new-{number}.md").touch()
    assert -signal.SIGKILL == changed(program, KILLED).start("run", "docs", stderr=subprocess.DEVNULL).wait()
    assert before == (program.json("files", "docs"), program.json("changes", "docs"))
    if following == "daemon":
        with program.daemon():
            pass
    assert ["succeeded", "interrupted"] == [run["status"] for run in reversed(program.json("history", "docs"))]
    assert before == (program.json("files", "docs"), program.json("changes", "docs"))
    assert program.out("db", "check").endswith(" is sound\n")
    assert 9 == program.json("run", "docs")["added"]
