"""Notifications of a real daemon: told by its worker, ended with it, made up for after it died."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Program, enlarge, is_gone, thaw, until

LISTENER = "import os, sys; open(sys.argv[1], 'a').write(sys.stdin.read()); os.close(0)"
# Refuses to end and so does its child; tells both numbers.
HANGING = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    open(sys.argv[1] + ".new", "w").write(f"{os.getpid()} {child}")
    os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(300)
"""


@pytest.fixture
def told(tmp_path: Path) -> Path:
    return tmp_path / "told"


def listening(program: Program, told: Path, script: str = LISTENER) -> str:
    path = program.folder / "listener.py"
    path.write_text(script)
    return f"{sys.executable} {path} {told}"


def heard(told: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []


def alive(note: Path) -> list[int]:
    """Give the processes of a hanging command that have not ended."""
    return [int(number) for number in note.read_text().split() if not is_gone(int(number))]


def test_a_failure_a_recovery_and_a_change_are_told_once_each(program: Program, tree: Path, told: Path) -> None:
    command = listening(program, told)
    events = [f"--notify={event}={command}" for event in ("failure", "recovery", "change", "slow")]
    program.out("schedule", tree, "--every", "1s", "--strategy", "sequential", *events)
    with program.daemon() as daemon:
        until(lambda: program.history("succeeded"), "a run")
        elsewhere = tree.rename(tree.with_name("elsewhere"))
        until(lambda: len(program.history("failed")) > 2, "several failures")
        (elsewhere / "new.md").write_text("new")
        elsewhere.rename(tree)
        until(lambda: len(heard(told)) >= 3, "three notifications")
        last = program.history()[-1]["run"]
        until(lambda: program.history("succeeded")[-1]["run"] > last, "another run")
        assert 0 == daemon.stop()
    failure, recovery, change = heard(told)
    assert ["failure", "recovery", "change"] == [one["event"] for one in (failure, recovery, change)]
    assert failure["run"] == program.history("failed")[0]["run"]
    assert recovery["run"] == change["run"]
    assert ["new.md"] == [one["path"] for one in change["changes"]]
    shown = program.json("show", str(change["run"]))
    assert [("recovery", 0, None), ("change", 0, None)] == [
        (one["event"], one["exit_code"], one["message"]) for one in shown["notifications"]
    ]
    assert shown | {"notifications": []} == {key: value for key, value in change.items() if key != "event"}
    table = program.out("show", str(change["run"]))
    assert "notifications" in table
    assert "listener.py" in table


def test_a_run_by_hand_tells_as_well_and_a_command_that_fails_harms_nothing(
    program: Program, tree: Path, told: Path
) -> None:
    program.out(
        *("schedule", tree, "--every", "1h", "--notify", "change=/nowhere/at/all --token hunter2"),
        *("--notify", f"change={listening(program, told)}"),
    )
    program.out("run", "docs")
    (tree / "new.md").write_text("new")
    done = program.call("run", "docs", "--format", "json")
    assert 0 == done.returncode
    run = json.loads(done.stdout)
    assert [None, 0] == [one["exit_code"] for one in run["notifications"]]
    assert [run["run"]] == [one["run"] for one in heard(told)]
    assert b"/nowhere/at/all" in done.stderr
    assert b"hunter2" not in done.stderr


def test_a_stop_ends_a_command_that_hangs_with_its_children(program: Program, tree: Path, told: Path) -> None:
    tree_is_gone = f"--notify=failure={listening(program, told, HANGING)}"
    program.out("schedule", tree, "--every", "1s", "--strategy", "sequential", tree_is_gone)
    tree.rename(tree.with_name("elsewhere"))
    with program.daemon() as daemon:
        until(told.exists, "the command's start")
        assert 2 == len(alive(told))
        daemon.stop()
    until(lambda: not alive(told), "the end of the group")
    (failed,) = program.history("failed")
    (notification,) = program.json("show", str(failed["run"]))["notifications"]
    assert (None, "ended because runner was stopped") == (notification["exit_code"], notification["message"])


def test_a_run_that_a_daemon_died_under_is_told_by_the_next_before_it_runs_again(
    program: Program, tree: Path, told: Path
) -> None:
    events = [f"--notify={event}={listening(program, told)}" for event in ("failure", "recovery")]
    program.out("schedule", enlarge(tree), "--every", "1s", "--strategy", "sequential", *events)
    with program.daemon() as daemon:
        trial = daemon.freeze_trial()
        daemon.process.kill()
        daemon.process.wait()
        thaw(trial)
    with program.daemon():
        until(lambda: len(heard(told)) >= 2, "both")
        last = program.history()[-1]["run"]
        until(lambda: program.history("succeeded")[-1]["run"] > last, "another run")
    failure, recovery = heard(told)
    assert ("failure", "interrupted", "recovery") == (failure["event"], failure["status"], recovery["event"])
    assert failure["run"] < recovery["run"]


def test_only_the_last_attempt_is_told(program: Program, tree: Path, told: Path) -> None:
    program.out(
        *("schedule", tree, "--every", "4s", "--strategy", "sequential", "--retries", "1", "--retry-delay", "1s"),
        f"--notify=failure={listening(program, told)}",
    )
    tree.rename(tree.with_name("elsewhere"))
    with program.daemon():
        until(lambda: heard(told), "a notification")
    (failure,) = heard(told)
    assert 2 == failure["attempt"]


@pytest.mark.parametrize("command", ["./tell.sh", "bin/tell", "''"])
def test_a_program_that_could_not_be_found_from_elsewhere_is_refused(
    program: Program, tree: Path, command: str
) -> None:
    done = program.quick("schedule", tree, "--every", "1h", "--notify", f"failure={command} now")
    assert (2, 1) == (done.returncode, done.stderr.count(b"\n"))
    assert b"whole path" in done.stderr
    assert not program.database.exists()


def test_fire_times_that_pass_while_a_command_hangs_are_skipped(program: Program, tree: Path, told: Path) -> None:
    program.out(
        *("schedule", tree, "--every", "1s", "--strategy", "sequential"),
        f"--notify=failure={listening(program, told, HANGING)}",
    )
    tree.rename(tree.with_name("elsewhere"))
    with program.daemon():
        until(lambda: len(program.history("skipped")) > 1, "firings beside it")
        assert 2 == len(alive(told))
        assert 1 == len(program.history("failed"))
    # Before the run has begun, on a busy machine, others may have waited for it.
    assert "the previous run was still running" == program.history("skipped")[-1]["message"]
    until(lambda: not alive(told), "the end of the group")
