"""Fire times that pass while no daemon runs, or while one can't look at the clock, each have a record."""

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import Program, Record, enlarge, freeze_trial, thaw, until
from firings import add_due

from runner.history.daemons import record_daemon
from runner.history.jobs import add_job
from runner.history.recording import begin_run
from runner.measure.environment import describe_environment
from runner.model.jobs import Catchup, Job, JobSpec
from runner.model.runs import Owner
from runner.schedules.parse import parse_schedule

MINUTE = timedelta(minutes=1)


def registered(program: Program, root: Path, *, every: str, ago: timedelta, catchup: Catchup = Catchup.ONCE) -> Job:
    """Register a job as if it had been done a while ago."""
    then = datetime.now(UTC) - ago
    schedule = parse_schedule(every=every, cron=None, at=None, timezone="UTC", jitter=None, now=then)
    with program.opened() as database:
        spec = JobSpec(name="docs", root=os.fsencode(root), schedule=schedule, catchup=catchup)
        return add_job(database, spec, then)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(("catchup", "caught_up"), [(Catchup.NONE, []), (Catchup.ONCE, [3]), (Catchup.ALL, [1, 2, 3])])
def test_a_downtime_is_one_missed_row_and_caught_up(
    program: Program, tree: Path, catchup: Catchup, caught_up: list[int]
) -> None:
    job = registered(program, tree, every="10m", ago=35 * MINUTE, catchup=catchup)
    with program.daemon():
        until(lambda: len(program.history("missed", "succeeded")) == 1 + len(caught_up), "all catch-up runs")
    (missed,) = program.history("missed")
    assert (3, job.schedule_start + 10 * MINUTE) == (missed["missed"], instant(missed["scheduled_at"]))
    runs = program.history("succeeded")
    assert [job.schedule_start + number * 10 * MINUTE for number in caught_up] == [
        instant(run["scheduled_at"]) for run in runs
    ]
    assert {"catchup"} >= {run["cause"] for run in runs}


def test_a_run_of_the_earlier_daemon_is_ended_on_any_machine(program: Program, tree: Path) -> None:
    job = registered(program, tree, every="10m", ago=5 * MINUTE)
    elsewhere = Owner(host="elsewhere", boot="another", pid=1, started_s=1.0)
    now = datetime.now(UTC)
    with program.opened() as database:
        record_daemon(database, elsewhere, now)
        environment = describe_environment(job.spec.root, workers=1, start_method="fork")
        begin_run(
            database, job, add_due(database, job, now), clock=lambda: now, environment=environment,
            owner=elsewhere,
        )  # fmt: skip
    assert ["running"] == [run["status"] for run in program.history()]
    with program.daemon():
        assert ["interrupted"] == [run["status"] for run in program.history()]


def test_recorded_fire_times_are_not_missed_again(program: Program, tree: Path) -> None:
    registered(program, tree, every="10m", ago=35 * MINUTE)
    for _ in range(2):
        with program.daemon():
            until(lambda: program.history("succeeded"), "the catch-up run")
    assert ["missed", "succeeded"] == [run["status"] for run in program.history()]


def test_a_paused_job_misses_nothing(program: Program, tree: Path) -> None:
    registered(program, tree, every="10m", ago=35 * MINUTE)
    program.out("pause", "docs")
    with program.daemon():
        program.out("resume", "docs")
    with program.daemon():
        assert [] == program.history()


def test_fire_times_during_sleep_are_one_missed_row(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1s")
    with program.daemon() as daemon:
        until(lambda: program.history("succeeded"), "a run")
        daemon.process.send_signal(signal.SIGSTOP)
        awake_at = datetime.now(UTC) + timedelta(seconds=3.5)
        until(lambda: datetime.now(UTC) >= awake_at, "time to pass")
        daemon.process.send_signal(signal.SIGCONT)
        until(lambda: program.history() and program.history()[-1]["scheduled_at"] > awake_at.isoformat(), "another run")
    # A busy machine may be late in starting the daemon too, so that there may be other gaps.
    slept = [run for run in program.history("missed") if "held up" in run["message"]]
    assert max(run["missed"] for run in slept) > 1
    covered: list[datetime] = []
    for run in program.history():
        if run["cause"] == "schedule":
            first = instant(run["scheduled_at"])
            covered += [first + timedelta(seconds=number) for number in range(max(1, run["missed"]))]
    expected = [covered[0] + timedelta(seconds=number) for number in range(len(covered))]
    assert expected == sorted(covered)  # each fire time has one record, none has two


def test_a_waiting_firing_of_a_killed_daemon_is_missed(program: Program, tree: Path) -> None:
    other = tree.with_name("other")
    other.mkdir()
    program.out("schedule", enlarge(other), "--at", "2099-01-01T00:00:00Z")
    by_hand = program.start("run", "other", stdout=-3, stderr=-3)
    trial = freeze_trial(by_hand.pid)
    try:
        job = registered(program, tree, every="1s", ago=timedelta())
        with program.daemon() as daemon:
            passed = job.schedule_start + timedelta(seconds=4)
            until(lambda: datetime.now(UTC) > passed, "some fire times")
            daemon.process.kill()
            daemon.process.wait()
    finally:
        thaw(trial)
        by_hand.wait(20)

    def of_docs() -> list[Record]:
        return program.history(job="docs")

    before = of_docs()
    with program.daemon():
        until(lambda: len(of_docs()) > len(before), "the next daemon's account")
    recorded = sum(max(1, run["missed"]) for run in of_docs() if run["cause"] == "schedule")
    assert job.schedule_start + timedelta(seconds=1) == min(instant(run["scheduled_at"]) for run in of_docs())
    # A missed row has the first of its fire times, which are a second apart.
    last = max(instant(run["scheduled_at"]) + timedelta(seconds=max(0, run["missed"] - 1)) for run in of_docs())
    assert recorded == round((last - job.schedule_start) / timedelta(seconds=1))
