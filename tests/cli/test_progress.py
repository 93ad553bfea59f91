"""What a run in the foreground shows meanwhile, and how ^C ends it."""

import json
import os
import pty
import select
import signal
import subprocess
from pathlib import Path

from conftest import Program, changed, enlarge, family, freeze_trial, gone, thaw, until


def test_a_terminal_sees_a_spinner_first_and_then_a_bar(program: Program, tree: Path) -> None:
    program.out("schedule", enlarge(tree), "--every", "1h")
    for shown, hidden in ((b"directories", b"%"), (b"%", b"nothing is hidden")):
        ours, theirs = pty.openpty()
        process = program.start("run", "docs", "--format", "json", stdout=subprocess.PIPE, stderr=theirs)
        os.close(theirs)
        trial = freeze_trial(process.pid)
        seen = bytearray()

        def read(ours: int = ours, seen: bytearray = seen) -> None:
            while select.select([ours], [], [], 0)[0]:
                try:
                    chunk = os.read(ours, 65536)
                except OSError:  # Linux's way to say that nobody writes any more
                    return
                seen.extend(chunk)
                if not chunk:
                    return

        def sees(text: bytes, read: object = read, seen: bytearray = seen) -> bool:
            assert callable(read)
            read()
            return text in seen

        until(lambda shown=shown: sees(shown), f"{shown!r} on the terminal")  # type: ignore[misc]
        assert hidden not in seen
        assert b"1. " in seen
        thaw(trial)
        out, _ = process.communicate(timeout=20)
        os.close(ours)
        assert 7 == json.loads(out)["files"]  # nothing but the result on stdout


def test_a_watched_history_follows_new_runs_until_an_interrupt(program: Program, tree: Path) -> None:
    program.out("run", tree)
    ours, theirs = pty.openpty()
    process = program.start("history", "--watch", stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    seen = bytearray()

    def shows(runs: int) -> bool:
        while select.select([ours], [], [], 0)[0]:
            seen.extend(os.read(ours, 65536))
        return seen.count(b"succeeded") >= runs

    until(lambda: shows(1), "the first run on the terminal")
    program.out("run", tree)
    until(lambda: shows(3), "both runs, in place of the first")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    os.close(ours)
    assert (130, b"") == (process.returncode, err)
    assert b"\x1b[1A" in seen  # the cursor moved up


def test_a_history_is_watched_only_on_a_terminal(program: Program) -> None:
    for arguments in ([], ["--json"]):
        assert "--watch shows a table on a terminal" in program.refused("history", "--watch", *arguments)


def test_an_interrupt_while_the_program_is_being_imported_is_one_line(program: Program) -> None:
    slow = changed(
        program,
        "import builtins, os, signal; plain = builtins.__import__\n"
        "def interrupted(name, *rest):\n"
        "    if name == 'typer': os.kill(os.getpid(), signal.SIGINT)\n"
        "    return plain(name, *rest)\n"
        "builtins.__import__ = interrupted",
    )
    process = slow.start("jobs", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (b"", b"runner: interrupted\n") == process.communicate(timeout=20)
    assert 130 == process.returncode


def test_a_pipe_sees_no_progress(program: Program, tree: Path) -> None:
    done = program.call("run", tree, "--format", "json")
    note = b"note: docs is created as job 1, without a schedule; `runner remove docs` removes it\n"
    assert (0, note) == (done.returncode, done.stderr)


def test_an_interrupt_cancels_the_run_and_leaves_nothing_behind(program: Program, tree: Path) -> None:
    program.out("schedule", enlarge(tree), "--every", "1h")
    process = program.start("run", "docs", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    everyone = [freeze_trial(process.pid), *family(process.pid)]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (130, b"") == (process.returncode, out)
    assert b"run 1 of 'docs' is recorded as cancelled" == err.splitlines()[-1]
    until(lambda: gone(everyone), "no process left")
    assert ["cancelled"] == [run["status"] for run in program.history()]


def test_kill_nine_of_a_run_by_hand_leaves_an_interrupted_run(program: Program, tree: Path) -> None:
    program.out("schedule", enlarge(tree), "--every", "1h")
    process = program.start("run", "docs", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    everyone = [freeze_trial(process.pid), *family(process.pid)]
    process.kill()
    process.wait()
    until(lambda: gone(everyone), "no process left", 3)
    assert ["interrupted"] == [run["status"] for run in program.json("history")]
    program.out("run", tree)  # nothing is in its way


def test_a_killed_trial_fails_its_run_and_keeps_the_other_execution(program: Program, tree: Path) -> None:
    program.out("schedule", enlarge(tree), "--every", "1h")
    process = program.start("run", "docs", "--format", "json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    freeze_trial(process.pid).kill()
    out, _ = process.communicate(timeout=20)
    run = json.loads(out)
    assert (1, "failed") == (process.returncode, run["status"])
    assert "killed by SIGKILL" in run["message"]
    assert {"failed", "succeeded"} == {one["status"] for one in run["executions"]}
