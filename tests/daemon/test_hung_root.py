"""A root whose file system does not answer, and what is left of a daemon after two signals."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Changed, Program, family, until

# Every access to the root waits as long as there is a file of this name, in the daemon as well as in its trials.
HUNG = """
import os, time
def answering(call):
    def answer(path, *arguments, **choices):
        while not isinstance(path, int) and os.path.abspath(os.fsdecode(path)) == {root!r} and os.path.exists({hung!r}):
            time.sleep(0.02)
        return call(path, *arguments, **choices)
    return answer
os.open, os.stat = answering(os.open), answering(os.stat)
"""
IN_TRIALS = """
import runner.measure.trials as trials
trials._BOOT = {hung!r} + trials._BOOT
"""
# A worker that nothing reaches any more.
STUCK = """
import time, runner.execution.executor as firing
firing.carry_out = lambda *_, **__: time.sleep(600)
"""


@pytest.fixture
def changed(program: Program) -> Changed:
    return Changed(program.folder, program.environment)


@pytest.fixture
def hung(changed: Changed, tree: Path, tmp_path: Path) -> Iterator[Path]:
    """Give the file whose presence makes the root of docs hang, for a daemon that has another job as well."""
    hung = tmp_path / "hung"
    change = HUNG.format(root=str(tree), hung=str(hung))
    changed.change = change + IN_TRIALS.format(hung=change)
    (tmp_path / "other").mkdir()
    changed.out("schedule", tmp_path / "other", "--every", "1s")
    changed.out("schedule", tree, "--every", "1s", "--name", "docs")
    hung.touch()
    yield hung
    hung.unlink(missing_ok=True)


def goes_on(program: Program, job: str) -> None:
    """Make sure that a job runs from now on."""
    before = len(program.history("succeeded", job=job))
    until(lambda: len(program.history("succeeded", job=job)) > before, f"another run of {job}", 30)


def test_a_hung_root_times_out_and_blocks_no_other_job(changed: Changed, hung: Path) -> None:
    changed.out("edit", "docs", "--timeout", "1s")
    with changed.daemon():
        timed_out = until(lambda: changed.history("timed_out", job="docs"), "a run that is timed out")[0]
        assert "ended after its time limit of 1 s" in timed_out["message"]
        goes_on(changed, "other")
        hung.unlink()
        goes_on(changed, "docs")


def test_a_run_on_a_hung_root_can_be_cancelled(changed: Changed, hung: Path) -> None:
    with changed.daemon():
        run = until(lambda: changed.history("running", job="docs"), "a run that hangs")[0]["run"]
        changed.out("cancel", str(run))
        until(lambda: run in [one["run"] for one in changed.history("cancelled")], "its end")
        goes_on(changed, "other")
        hung.unlink()
        goes_on(changed, "docs")


@pytest.mark.usefixtures("hung")
def test_a_daemon_ends_despite_a_hung_root(changed: Changed) -> None:
    with changed.daemon() as daemon:
        until(lambda: changed.history("running", job="docs"), "a run that hangs")
        assert 0 == daemon.stop()
    assert 1 == len(changed.history("interrupted", job="docs"))


def test_a_missing_root_fails(changed: Changed, hung: Path, tree: Path) -> None:
    tree.rename(tree.with_name("elsewhere"))
    hung.unlink()
    with changed.daemon():
        failed = until(lambda: changed.history("failed", job="docs"), "a run that fails")[0]
    expected = f"the root {str(tree)!r} does not exist; create it, mount it, or name another directory"
    assert (expected, []) == (failed["message"], failed["executions"])


def test_a_manual_run_on_a_hung_directory_can_be_ended(changed: Changed, hung: Path, tree: Path) -> None:
    assert hung.exists()
    with changed.start("run", tree, stderr=subprocess.PIPE) as process:
        until(lambda: family(process.pid), "a process that looks at the directory")
        process.send_signal(signal.SIGINT)
        assert 130 == process.wait(20)
    assert [] == changed.history(job="docs")


def test_a_job_with_the_name_of_a_hung_directory_is_found(changed: Changed, hung: Path) -> None:
    assert hung.with_name("docs").is_dir()
    with changed.start("run", "docs", stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        until(lambda: changed.history("running", job="docs"), "a run that hangs")
        process.send_signal(signal.SIGINT)
        assert 130 == process.wait(20)


@pytest.mark.usefixtures("hung")
def test_a_hung_directory_is_checked_before_a_database_exists(changed: Changed, tree: Path) -> None:
    changed.environment["RUNNER_DB"] = str(changed.folder / "none.db")
    with changed.start("run", tree.name, stderr=subprocess.PIPE) as process:
        until(lambda: family(process.pid), "a process that looks for the directory")
        process.send_signal(signal.SIGINT)
        assert 130 == process.wait(20)
    assert not changed.database.exists()


def test_a_second_signal_ends_a_daemon_despite_a_hung_run(changed: Changed, tree: Path) -> None:
    changed.change = STUCK
    changed.out("schedule", tree, "--every", "1s", "--name", "docs")
    with changed.daemon() as daemon:
        until(lambda: changed.history("running", job="docs"), "a run that hangs")
        daemon.process.send_signal(signal.SIGTERM)
        until(lambda: "stopping" in daemon.said(), "the daemon to hear the signal")
        assert 0 == daemon.stop()
        assert "a run could not be ended and is left; the next daemon records it as interrupted" in daemon.said()
    changed.change = "pass"
    with changed.daemon():
        assert 1 == len(changed.history("interrupted", job="docs"))
