"""The daemon as a real process: what it fires, what it follows, and how it ends."""

import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from conftest import Daemon, Program, Record, enlarge, family, find_markdown, freeze_trial, gone, thaw, until

CHANGED = ("added", "removed", "modified")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def finished(program: Program, *, job: str | None = None, at_least: int = 1) -> list[Record]:
    """Wait for a number of succeeded runs; return them, oldest first."""
    until(lambda: len(program.history("succeeded", job=job)) >= at_least, f"{at_least} runs")
    return program.history("succeeded", job=job)


def test_it_fires_in_phase_and_agrees_with_find(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "2s")
    anchor = instant(program.json("jobs")[0]["created_at"])
    with program.daemon():
        runs = finished(program, at_least=3)
    for run in runs:
        scheduled, started = instant(run["scheduled_at"]), instant(run["started_at"])
        assert timedelta() == (scheduled - anchor) % timedelta(seconds=2)
        if run["cause"] == "schedule":
            assert scheduled <= started
        assert {"sequential", "pool"} == {one["strategy"] for one in run["executions"]}
        assert [7, 7] == [one["files"] for one in run["executions"]]
    assert len(runs) == len({run["scheduled_at"] for run in runs})
    files = program.call("files", "docs", "-0").stdout
    assert find_markdown(tree) == sorted(filter(None, files.split(b"\0")))


def test_the_next_firing_sees_all_kinds_of_changes(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1s")
    with program.daemon():
        before = finished(program)[-1]["run"]
        (tree / "new.md").write_text("new\n")
        (tree / "part-0/a.md").unlink()
        (tree / "part-1/a.md").write_text("changed and longer\n")
        until(lambda: [1, 1, 1] == [sum(run[key] for run in finished(program)[1:]) for key in CHANGED], "+1 -1 ~1")
    old = [file["path"] for file in program.json("files", "docs", "--run", str(before))]
    new = [file["path"] for file in program.json("files", "docs")]
    assert {"part-0/a.md"} == set(old) - set(new)
    assert {"new.md"} == set(new) - set(old)


def test_changed_jobs_are_followed_within_two_seconds(program: Program, tree: Path) -> None:
    def runs_since(moment: datetime) -> list[Record]:
        return [run for run in program.history() if instant(run["scheduled_at"]) >= moment]

    with program.daemon() as daemon:
        program.out("schedule", tree, "--every", "1s")
        until(program.history, "the first run of a new job", 4)

        program.out("edit", "docs", "--pattern", "*.txt")
        until(lambda: program.history()[-1]["files"] == 4, "a run with the new pattern", 4)

        program.out("pause", "docs")
        held = datetime.now(UTC) + timedelta(seconds=2)
        until(lambda: datetime.now(UTC) > held + timedelta(seconds=1.5), "time to pass")
        assert [] == runs_since(held)

        program.out("resume", "docs")
        until(lambda: runs_since(held), "a run after it was resumed", 4)

        program.out("remove", "docs")
        held = datetime.now(UTC) + timedelta(seconds=2)
        until(lambda: datetime.now(UTC) > held + timedelta(seconds=1.5), "time to pass")
        assert [] == runs_since(held)
        assert 0 == daemon.stop()


def test_a_second_daemon_is_refused_under_any_database_name(program: Program) -> None:
    (program.folder / "link.db").symlink_to(program.database)
    with program.daemon() as first:
        second = program.call("daemon", "--db", "link.db")
    assert (1, b"") == (second.returncode, second.stdout)
    said = second.stderr.decode()
    assert 1 == said.count("\n")
    assert said.startswith("runner: a daemon is already running")
    assert str(first.process.pid) in said


def test_a_daemon_acquires_a_removed_lock_again(program: Program) -> None:
    lock = program.folder / "runner.db.daemon.lock"
    with program.daemon() as first:
        lock.unlink()
        until(lock.exists, "the lock")
        second = program.call("daemon")
        assert first.process.poll() is None
    assert 1 == second.returncode
    assert f"(process {first.process.pid} on " in second.stderr.decode()


def stopped_idle(program: Program, daemon: Daemon) -> bool:
    """Stop a daemon, unless it writes just then: what waits for its lock would wait for ever."""
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        with closing(sqlite3.connect(program.database, timeout=0.2)) as connection:
            connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        daemon.process.send_signal(signal.SIGCONT)
        return False
    return True


@pytest.mark.parametrize("remove", ["unlink", "rename"])
def test_a_daemon_that_lost_its_removed_lock_stops(program: Program, remove: str) -> None:
    lock = program.folder / "runner.db.daemon.lock"
    with program.daemon() as first:
        until(lambda: stopped_idle(program, first), "a moment in which it does not write")
        if remove == "unlink":
            lock.unlink()
        else:
            lock.rename(program.folder / "aside")
        with program.daemon() as second:
            first.process.send_signal(signal.SIGCONT)
            assert 1 == first.process.wait(20)
            said = first.said().splitlines()[-1]
            assert said.startswith("runner: a daemon is already running")
            assert f"(process {second.process.pid} on " in said
            assert program.json("status")["pid"] == second.process.pid


@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
def test_a_daemon_does_not_write_to_an_unlinked_database(program: Program, tree: Path, *, replaced: bool) -> None:
    program.out("schedule", tree, "--every", "1h")
    backup = program.folder / "backup.db"
    program.out("db", "backup", backup)
    with program.daemon() as daemon:
        if replaced:
            backup.rename(program.database)
        else:
            program.database.unlink()
        assert 1 == daemon.process.wait(20)
        happened = "replaced" if replaced else "removed"
        assert f"{program.database} was {happened} while its daemon ran" in daemon.said().splitlines()[-1]
    if replaced:
        with program.daemon() as daemon:
            assert daemon.process.pid == program.json("status")["pid"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_after_a_signal_the_running_run_finishes(program: Program, tree: Path, number: signal.Signals) -> None:
    program.out("schedule", tree, "--every", "1s")
    with program.daemon() as daemon:
        trial = daemon.freeze_trial()
        everyone = [trial, *family(daemon.process.pid)]
        daemon.process.send_signal(number)
        until(lambda: "stopping" in daemon.said(), "the daemon to hear the signal")
        thaw(trial)
        assert 0 == daemon.process.wait(10)
        until(lambda: gone(everyone), "no process left")
    last = [run for run in program.history() if run["started_at"]][-1]
    assert "succeeded" == last["status"]
    assert 2 == len(last["executions"])


def test_a_run_longer_than_the_grace_period_is_ended(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1s")
    with program.daemon() as daemon:
        everyone = [daemon.freeze_trial(), *family(daemon.process.pid)]
        assert 0 == daemon.stop()
        until(lambda: gone(everyone), "no process left")
    assert "interrupted" == next(run["status"] for run in program.history()[::-1] if run["started_at"])
    assert [] == program.history("running")


def test_a_second_signal_ends_a_long_run_at_once(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1s")
    with program.daemon() as daemon:
        everyone = [daemon.freeze_trial(), *family(daemon.process.pid)]
        daemon.process.send_signal(signal.SIGTERM)
        until(lambda: "stopping" in daemon.said(), "the daemon to hear the signal")
        began = datetime.now(UTC)
        assert 0 == daemon.stop()
        assert datetime.now(UTC) - began < timedelta(seconds=3)
        until(lambda: gone(everyone), "no process left")
    assert "interrupted" == next(run["status"] for run in program.history()[::-1] if run["started_at"])


def test_a_signal_stops_an_idle_daemon_at_once(program: Program) -> None:
    with program.daemon() as daemon:
        began = datetime.now(UTC)
        assert 0 == daemon.stop()
        assert datetime.now(UTC) - began < timedelta(seconds=2)


def test_sigkill_during_a_run_leaves_an_interrupted_run(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1s")
    with program.daemon() as daemon:
        everyone = [daemon.freeze_trial(), *family(daemon.process.pid)]
        until(lambda: program.history("running"), "the run's row")
        daemon.process.kill()
        daemon.process.wait()
        until(lambda: gone(everyone), "trial and workers to vanish", 3)
    assert 1 == program.quick("status").returncode  # which recovers
    killed = next(run for run in program.history()[::-1] if run["started_at"])
    assert "interrupted" == killed["status"]
    assert [] == program.history("running")
    with program.daemon():
        until(lambda: finished(program)[-1]["run"] > killed["run"], "the next run")
    times = [run["scheduled_at"] for run in program.history() if run["cause"] == "schedule"]
    assert len(times) == len(set(times))
    assert 1 == len([run for run in program.history() if run["run"] == killed["run"]])


def test_fire_times_during_a_slow_run_are_skipped(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1s")
    with program.daemon() as daemon:
        trial = daemon.freeze_trial()
        until(lambda: len(program.history("skipped")) >= 2, "two skipped rows")
        thaw(trial)
        until(lambda: not program.history("running"), "the slow run to end")
    skipped = program.history("skipped")
    slow = max((run for run in program.history() if run["run"] < skipped[0]["run"]), key=lambda run: run["run"])
    assert {"the previous run was still running"} == {run["message"] for run in skipped}
    assert timedelta(seconds=1) == instant(skipped[1]["scheduled_at"]) - instant(skipped[0]["scheduled_at"])
    assert "succeeded" == slow["status"]


def test_a_missing_root_fails_its_runs_and_keeps_its_files(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1s")
    away = tree.with_name("away")
    with program.daemon():
        finished(program)
        tree.rename(away)
        failed = until(lambda: program.history("failed"), "a failed run")[0]
        assert "does not exist" in failed["message"]
        assert 7 == len(program.json("files", "docs"))
        away.rename(tree)
        back = until(lambda: [run for run in finished(program) if run["run"] > failed["run"]], "recovery")[0]
    assert [7, 0, 0, 0] == [back[key] for key in ("files", "added", "removed", "modified")]


def test_several_jobs_run_one_at_a_time(program: Program, tree: Path) -> None:
    for name in ("one", "two", "three"):
        program.out("schedule", tree, "--every", "1s", "--name", name)
    with program.daemon():
        for name in ("one", "two", "three"):
            finished(program, job=name, at_least=2)
    spans = sorted((run["started_at"], run["finished_at"]) for run in program.history() if run["started_at"])
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_a_manual_run_of_a_running_job_is_refused(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1s")
    with program.daemon() as daemon:
        trial = daemon.freeze_trial()
        going = until(lambda: program.history("running"), "the run's row")[0]["run"]
        refused = program.call("run", "docs")
        thaw(trial)
    assert (1, b"") == (refused.returncode, refused.stdout)
    said = refused.stderr.decode()
    assert f"runner: run {going} of the job 'docs' is running; wait until it has finished\n" == said


def test_a_firing_beside_a_manual_run_of_the_same_job_is_skipped(program: Program, tree: Path) -> None:
    program.out("schedule", enlarge(tree), "--every", "1h")
    by_hand = program.start("run", "docs", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    trial = None
    try:
        trial = freeze_trial(by_hand.pid)
        program.out("edit", "docs", "--every", "1s")
        with program.daemon():
            until(lambda: any("is running" in run["message"] for run in program.history("skipped")), "a skipped firing")
    finally:
        if trial is not None:
            thaw(trial)
        assert 0 == by_hand.wait(20)


def test_status_before_during_after_and_when_killed(program: Program, tree: Path) -> None:
    before = program.quick("status")
    assert 1 == before.returncode
    assert b"none has run yet" in before.stdout

    program.out("schedule", tree, "--every", "1s")
    with program.daemon() as daemon:
        trial = daemon.freeze_trial()
        during = until(lambda: (record := program.json("status"))["running"] and record, "a running run")
        thaw(trial)
        assert [True, daemon.process.pid, "docs", None] == [
            during[key] for key in ("alive", "pid", "next_job", "stopped_at")
        ]
        assert instant(during["next_at"]) > instant(during["started_at"])
        alive = program.quick("status").stdout
        assert b"alive: process" in alive
        assert b"nothing fires" not in alive
        assert 0 == daemon.stop()
    after = program.quick("status", "--format", "json")
    assert 1 == after.returncode
    assert b'"alive": false' in after.stdout
    stopped = program.quick("status").stdout
    assert b"not running: stopped" in stopped
    assert b"start one with `runner daemon`" in stopped
    assert b"; nothing fires until a daemon runs\n" in stopped

    with program.daemon() as daemon:
        daemon.process.kill()
        daemon.process.wait()
    killed = program.quick("status")
    assert 1 == killed.returncode
    assert b"not running: died" in killed.stdout


def test_names_in_the_log_are_escaped(program: Program) -> None:
    root = os.fsencode(program.folder) + b"/a\n\x1b]0;x\x07\xe9"
    os.mkdir(root)  # noqa: PTH102  bytes
    program.out("schedule", root, "--every", "1s", "--name", "odd")
    os.rmdir(root)  # noqa: PTH106
    with program.daemon() as daemon:
        until(lambda: "failed" in daemon.said(), "a failed run")
        daemon.stop()
    said = daemon.log.read_bytes()
    assert b"\x1b" not in said
    assert b"\x07" not in said
    assert all(line[:4].isdigit() for line in said.splitlines())


def test_an_idle_daemon_has_no_child_process(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1s")
    with program.daemon() as daemon:
        finished(program, at_least=2)
        program.out("pause", "docs")
        until(lambda: not psutil.Process(daemon.process.pid).children(), "no child left")
        assert 0 == daemon.stop()


def test_it_deletes_runs_by_the_retention_settings(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--cron", "0 0 1 1 *", "--strategy", "sequential")
    for _ in range(4):
        program.out("run", "docs")
    settings = program.folder / "settings.toml"
    settings.write_text("retain_runs = 2\n")
    program.environment["RUNNER_SETTINGS"] = str(settings)
    with program.daemon() as daemon:
        until(lambda: "deleted 2 runs" in daemon.said(), "the deletion of the old runs")
    assert [3, 4] == [run["run"] for run in program.history()]
    assert find_markdown(tree) == sorted(filter(None, program.call("files", "docs", "-0").stdout.split(b"\0")))
