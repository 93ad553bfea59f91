"""What a daemon does about runs that fail, are cancelled, or could not be recorded."""

import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import Program, Record, enlarge, freeze_trial, gone, until
from firings import add_due

from runner.history.database import Database
from runner.history.firings import add_firing
from runner.history.jobs import add_job, get_job
from runner.history.recording import RunOutcome, begin_run, finish_run
from runner.measure.environment import describe_environment, describe_process
from runner.model.jobs import Job, JobSpec, Schedule, ScheduleKind
from runner.model.runs import Cause, Status

ONE = ("--strategy", "sequential")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def attempts(program: Program) -> list[Record]:
    return [run for run in program.history() if run["status"] != "missed"]


def test_a_failed_run_is_retried_and_each_attempt_recorded(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1h", "--retries", "2", "--retry-delay", "1s")
    moved = tree.rename(tree.with_name("elsewhere"))
    fire_soon(program)
    with program.daemon():
        until(lambda: len(attempts(program)) == 3, "three attempts")
        until(lambda: not program.history("running"), "their end")
        waited = datetime.now(UTC) + timedelta(seconds=2.5)
        until(lambda: datetime.now(UTC) > waited, "a fourth")
    runs = attempts(program)
    assert [1, 2, 3] == [run["attempt"] for run in runs]
    assert ["failed"] * 3 == [run["status"] for run in runs]
    assert 1 == len({(run["scheduled_at"], run["cause"]) for run in runs})
    for before, after in pairwise(runs):
        assert timedelta(seconds=1) <= instant(after["started_at"]) - instant(before["finished_at"])
    moved.rename(tree)


def test_a_successful_retry_is_the_last_and_not_late(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1h", "--retries", "5", "--retry-delay", "1s")
    moved = tree.rename(tree.with_name("elsewhere"))
    fire_soon(program)
    with program.daemon():
        until(lambda: program.history("failed"), "a failure")
        moved.rename(tree)
        until(lambda: program.history("succeeded"), "a success")
        waited = datetime.now(UTC) + timedelta(seconds=2.5)
        until(lambda: datetime.now(UTC) > waited, "another attempt")
    *failed, succeeded = attempts(program)
    assert {"failed"} == {run["status"] for run in failed}
    assert ("succeeded", len(failed) + 1) == (succeeded["status"], succeeded["attempt"])
    assert None is succeeded["lateness_s"]


def test_a_pending_retry_survives_the_daemons_death(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1h", "--retries", "1", "--retry-delay", "6s")
    moved = tree.rename(tree.with_name("elsewhere"))
    fire_soon(program)
    with program.daemon() as daemon:
        until(lambda: program.history("failed"), "a failure")
        daemon.process.kill()
        daemon.process.wait()
    assert 1 == program.call("run", "docs").returncode  # no attempt of the firing
    moved.rename(tree)
    with program.daemon():
        until(lambda: program.history("succeeded"), "the retry")
    first, second = (run for run in attempts(program) if run["cause"] != "manual")
    assert timedelta(seconds=6) <= instant(second["started_at"]) - instant(first["finished_at"])
    assert ("failed", 1, "succeeded", 2) == (first["status"], first["attempt"], second["status"], second["attempt"])


def test_a_retry_waits_for_a_manual_run(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1h", "--retries", "1", "--retry-delay", "10s")
    moved = enlarge(tree).rename(tree.with_name("elsewhere"))
    fire_soon(program)
    with program.daemon() as daemon:
        until(lambda: program.history("failed"), "a failure")
        moved.rename(tree)
        with program.start("run", "docs", stderr=subprocess.DEVNULL) as by_hand:
            trial = freeze_trial(by_hand.pid)
            until(lambda: "attempt 2 waits" in daemon.said(), "the retry to meet it", 40)
            os.killpg(trial.pid, signal.SIGCONT)
        until(lambda: len(attempts(program)) == 3 and not program.history("running"), "the retry")
    fired = attempts(program)[0]["cause"]  # catchup where the daemon took long to start
    assert [("failed", fired, 1), ("succeeded", "manual", 1), ("succeeded", fired, 2)] == [
        (run["status"], run["cause"], run["attempt"]) for run in attempts(program)
    ]


def test_a_manual_run_does_not_replace_a_retry(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1h", "--retries", "1", "--retry-delay", "30m")
    moved = tree.rename(tree.with_name("elsewhere"))
    fire_soon(program)
    with program.daemon():
        until(lambda: program.history("failed"), "a failure")
        moved.rename(tree)
        program.out("run", "docs")
        by_hand, failed, *_ = program.json("history")
        assert [None, "failed"] == [by_hand["retry_at"], failed["status"]]
        assert timedelta(minutes=30) == instant(failed["retry_at"]) - instant(failed["finished_at"])
        program.out("edit", "docs", "--retry-delay", "1s")
        until(lambda: len(program.history("succeeded")) == 2, "the retry, which goes by the job as it is")
    assert [2, 1, 1] == [run["attempt"] for run in program.json("history")[:3]]
    assert {None} == {run["retry_at"] for run in program.json("history")}


def test_the_next_daemon_drops_a_retry_replaced_by_a_firing(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1h", "--retries", "1", "--retry-delay", "40m")
    register_ago(program, timedelta(hours=2, minutes=30))
    started_at = datetime.now(UTC) - timedelta(hours=1, minutes=30)
    with program.opened() as database:
        job = get_job(database, "docs")
        record_failed(database, job, started_at, started_at + timedelta(minutes=30))
        at = started_at + timedelta(hours=1)
        add_firing(database, job, at, lambda: at, busy="a run was running")
    program.out("schedule", tree, "--every", "1s", "--name", "clock")
    with program.daemon():
        until(lambda: len(program.history("succeeded", job="clock")) > 1, "what came later than a retry")
    assert [("skipped", None), ("failed", None)] == [
        (run["status"], run["retry_at"]) for run in program.json("history", "docs")
    ]


def test_a_catch_up_run_waits_for_a_manual_run(program: Program, tree: Path) -> None:
    program.out("schedule", enlarge(tree), "--every", "1h", "--catchup", "all")
    register_ago(program, timedelta(hours=2, minutes=30))
    with program.start("run", "docs", stderr=subprocess.DEVNULL) as by_hand:
        trial = freeze_trial(by_hand.pid)
        with program.daemon() as daemon:
            until(lambda: "waits until" in daemon.said(), "what makes up to meet it")
            os.killpg(trial.pid, signal.SIGCONT)
            until(lambda: len(program.history("succeeded")) == 3, "both")
    assert [("succeeded", "manual"), ("missed", "schedule"), ("succeeded", "catchup"), ("succeeded", "catchup")] == [
        (run["status"], run["cause"]) for run in program.history()
    ]
    assert sorted(run["scheduled_at"] for run in program.history()[2:]) == [
        run["scheduled_at"] for run in program.history()[2:]
    ]


def record_failed(
    database: Database, job: Job, started_at: datetime, finished_at: datetime, cause: Cause = Cause.SCHEDULE
) -> None:
    run_id = begin_run(
        database,
        job,
        add_due(database, job, None if cause is Cause.MANUAL else started_at, cause=cause),
        clock=lambda: started_at,
        environment=describe_environment(job.spec.root, workers=1, start_method="fork"),
        owner=describe_process(),
    )
    finish_run(database, run_id, RunOutcome(status=Status.FAILED, finished_at=finished_at))


def fire_soon(program: Program) -> None:
    """Set back the registration of the only, hourly job, so that it fires in a second."""
    register_ago(program, timedelta(hours=1, seconds=-1.5))


def register_ago(program: Program, ago: timedelta) -> None:
    """Set back the registration of the only job."""
    with closing(sqlite3.connect(program.database)) as connection:
        then = (datetime.now(UTC) - ago).replace(tzinfo=None)
        connection.execute(
            "UPDATE jobs SET interval_origin = ?, schedule_start = ?, created_at = ?", [then.isoformat(" ")] * 3
        )
        connection.commit()


def test_a_running_run_is_cancelled_from_another_process(program: Program, tree: Path) -> None:
    program.out("schedule", enlarge(tree), "--every", "1s", "--retries", "3", "--retry-delay", "1h", *ONE)
    with program.daemon() as daemon:
        trial = daemon.freeze_trial()
        (running,) = until(lambda: program.history("running"), "its row")
        done = program.call("cancel", str(running["run"]))
        assert (0, b"") == (done.returncode, done.stdout), done.stderr
        assert b"was cancelled" in done.stderr
        until(lambda: gone([trial]), "the end of its trial")
        cancelled = next(run for run in program.history() if run["run"] == running["run"])
        assert ("cancelled", None) == (cancelled["status"], cancelled["files"])
        until(lambda: program.history("succeeded"), "the next firing")
        assert [1] == sorted({run["attempt"] for run in attempts(program)})


def test_a_manual_run_can_be_cancelled_by_another_process(program: Program, tree: Path) -> None:
    program.out("schedule", enlarge(tree), "--every", "1h")
    with program.start("run", "docs", stderr=subprocess.PIPE) as process:
        freeze_trial(process.pid)
        (running,) = until(lambda: program.history("running"), "its row")
        assert 0 == program.call("cancel", str(running["run"])).returncode
        assert 1 == process.wait(10)
        assert process.stderr is not None
        assert b"cancelled" in process.stderr.read()


@pytest.mark.parametrize("number", ["7", "0", "-3", "99999999999999999999"])
def test_a_run_that_is_not_running_is_not_cancelled(program: Program, tree: Path, number: str) -> None:
    program.out("run", tree)
    before = program.history()
    for given in (number, "1"):
        done = program.quick("cancel", "--", given)
        assert (2, 1) == (done.returncode, done.stderr.count(b"\n")), done.stderr
    assert before == program.history()


def test_a_firing_waits_for_a_locked_database(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1s")
    with program.daemon() as daemon:
        until(lambda: program.history("succeeded"), "a run")
        with closing(sqlite3.connect(program.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            before = len(program.history())
            until(lambda: "is locked" in daemon.said(), "the daemon to notice", 30)
            assert before >= len(program.history()) - 1
            other.execute("ROLLBACK")
        until(lambda: len(program.history("succeeded")) > before + 2, "more runs")
        assert 0 == daemon.stop()
    assert_accounted(program)


def assert_accounted(program: Program) -> None:
    """Make sure that each fire time of the only job, one a second, has one record."""
    anchor = instant(program.json("jobs")[0]["created_at"])
    recorded: list[int] = []
    for run in program.history():
        first = round((instant(run["scheduled_at"]) - anchor).total_seconds())
        recorded += range(first, first + (run["missed"] or 1)) if run["cause"] == "schedule" else []
    assert list(range(1, max(recorded) + 1)) == sorted(recorded)


def test_sighup_loads_the_settings_unless_they_are_wrong(program: Program, tree: Path) -> None:
    settings = program.folder / "settings.toml"
    settings.write_text("runs_at_once = 1\n")
    program.environment["RUNNER_SETTINGS"] = str(settings)
    program.out("schedule", enlarge(tree), "--every", "1s", "--name", "one")
    program.out("schedule", tree, "--every", "1s", "--name", "two")

    with program.daemon() as daemon:
        frozen = daemon.freeze_trial()
        settings.write_text("runs_at_once = many\n")
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: "stay as they were" in daemon.said(), "the refusal")
        settings.write_text("runs_at_once = 2\n")
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: "read again" in daemon.said(), "the new settings")
        until(
            lambda: len(program.history("running")) == 2 or program.history("succeeded"), "a run beside the frozen one"
        )
        os.killpg(frozen.pid, signal.SIGCONT)
        assert 0 == daemon.stop()


def test_queued_catch_up_survives_the_daemons_death(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1h", "--catchup", "all")
    register_ago(program, timedelta(hours=3, minutes=30))
    enlarge(tree)
    with program.daemon() as daemon:
        daemon.freeze_trial()
        until(lambda: program.history("running"), "the first run that makes up")
        daemon.process.kill()
        daemon.process.wait()
    with program.daemon():
        until(lambda: len(program.history("succeeded")) == 2, "the other two")
    runs = program.history()
    assert ["missed", "interrupted", "succeeded", "succeeded"] == [run["status"] for run in runs]
    assert 3 == len({run["scheduled_at"] for run in runs[1:]})
    with program.daemon() as daemon:
        assert 0 == daemon.stop()
    assert 4 == len(program.history())


def test_a_job_with_an_unknown_zone_does_not_block_others(program: Program, tree: Path) -> None:
    now = datetime.now(UTC)
    lost = Schedule(kind=ScheduleKind.CRON, expression="* * * * *", timezone="Atlantis/Center", anchor_at=now)
    with program.opened() as database:
        add_job(database, JobSpec(name="lost", root=os.fsencode(tree), schedule=lost), now)
    program.out("schedule", tree, "--every", "1s", "--name", "found")
    with program.daemon() as daemon:
        until(lambda: program.history("succeeded"), "a run of the other")
        assert "lost: can't be fired" in daemon.said()
        assert b"found" in program.call("status").stdout
        assert ["lost", "found"] == [job["name"] for job in program.json("jobs")]
    assert {"found"} == {run["job"] for run in program.history()}
