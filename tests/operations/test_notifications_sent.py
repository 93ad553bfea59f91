"""What is told of real runs, to real commands, on every kind of database."""

import json
import os
import shutil
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from runner.execution.executor import fire
from runner.history.database import Database
from runner.history.jobs import add_job, change_job
from runner.history.notifications import last_notified_run, list_notifications, record_notification
from runner.history.prune import Retention, prune
from runner.history.recording import Ending, begin_run, finish_run, record_not_run
from runner.history.runs import get_run
from runner.history.timings import acknowledge
from runner.measure.environment import describe_environment, describe_process
from runner.measure.observer import RunObserver
from runner.model.errors import HistoryError
from runner.model.jobs import Event, Job, JobSpec, Notify, Schedule, ScheduleKind, Selection
from runner.model.notifications import Notification
from runner.model.runs import Cause, Execution, Run, Status
from runner.operations import hook_command, notifications
from runner.operations.notifications import Notifier
from runner.output.records import show_record
from runner.scan.found import whole
from runner.scan.part import Part
from runner.scan.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 22, tzinfo=UTC)
# Writes all it gets into a folder, under its number.
LISTENER = """
import json, os, sys
folder = sys.argv[1]
got = {"text": sys.stdin.read(), **{name: os.environ[f"RUNNER_{name.upper()}"] for name in ("event", "job", "run")}}
with open(os.path.join(folder, f"{len(os.listdir(folder)):04}"), "w") as file:
    json.dump(got, file)
"""


@dataclass
class World:
    """A job whose every event is told to a command that writes it down."""

    database: Database
    root: Path
    told: Path
    job: Job
    now: datetime = NOW

    def run(self, at: int | None = None, *, attempt: int = 1, job: Job | None = None, **watching: Any) -> Run:
        """Carry out a run, by hand or for the fire time after so many hours, and tell of it as every caller does."""
        job = job or self.job
        run_id = fire(
            self.database,
            job,
            cause=Cause.MANUAL if at is None else Cause.SCHEDULE,
            scheduled_at=None if at is None else NOW + timedelta(hours=at),
            attempt=attempt,
            watching=RunObserver(**watching),
        )
        self.notifier().tell(job, run_id)
        return get_run(self.database, run_id)

    def notifier(self, **choices: Any) -> Notifier:
        return Notifier(self.database, show_record, **choices)

    def change(self, **choices: Any) -> Job:
        self.job = change_job(self.database, self.job, replace(self.job.spec, **choices), datetime.now(UTC))
        return self.job

    def heard(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.told.iterdir())]

    def events(self) -> list[tuple[str, int]]:
        return [(one["event"], int(one["run"])) for one in self.heard()]

    def lose_root(self) -> None:
        self.root.rename(self.root.with_name("elsewhere"))

    def bring_root_back(self) -> None:
        self.root.with_name("elsewhere").rename(self.root)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    root, told = tmp_path / "docs", tmp_path / "told"
    for folder in (root, root / "part", told):
        folder.mkdir()
    (root / "part" / "a.md").write_text("a")
    notify = tuple(Notify(event, (sys.executable, "-c", LISTENER, str(told))) for event in Event)
    schedule = Schedule(kind=ScheduleKind.EVERY, expression="1h", timezone="UTC", anchor_at=NOW)
    spec = JobSpec(name="docs", root=os.fsencode(root), strategies=("sequential",), notify=notify, schedule=schedule)
    return World(database=database, root=root, told=told, job=add_job(database, spec, NOW))


def test_nothing_is_told_of_runs_as_they_should_be(world: World) -> None:
    world.run(1)
    world.run(2)
    world.run()
    assert [] == world.events()


def test_a_command_gets_the_run_as_show_gives_it(world: World) -> None:
    world.run(1)
    (world.root / "b.md").write_text("b")
    run = world.run(2)
    [heard] = world.heard()
    assert ("change", "docs", str(run.run_id)) == (heard["event"], heard["job"], heard["run"])
    got = json.loads(heard["text"])
    assert ["b.md"] == [change["path"] for change in got["changes"]]
    assert "change" == got.pop("event")
    # Who else was told, and by what command, is nobody's business.
    assert json.loads(json.dumps(show_record(run))) | {"changes": got["changes"]} == got
    assert [] == got["notifications"]


def test_a_job_that_begins_to_fail_is_told_once_until_it_has_succeeded_again(world: World) -> None:
    world.run(1)
    world.lose_root()
    first, *_ = [world.run(hour).run_id for hour in (2, 3, 4)]
    assert [("failure", first)] == world.events()
    world.bring_root_back()
    back = world.run(5).run_id
    world.run(6)
    assert [("failure", first), ("recovery", back)] == world.events()
    world.lose_root()
    again = world.run(7).run_id
    assert ("failure", again) == world.events()[-1]
    assert 3 == len(world.events())


def test_a_first_run_that_fails_is_told_and_its_recovery_too(world: World) -> None:
    world.lose_root()
    failed = world.run().run_id
    world.bring_root_back()
    assert [("failure", failed), ("recovery", world.run().run_id)] == world.events()


def test_what_ends_in_part_is_no_failure_and_a_recovery(world: World) -> None:
    world.run(1)
    finish(world, 2, Status.PARTIAL)
    assert [] == world.events()
    finish(world, 3, Status.TIMED_OUT)
    finish(world, 4, Status.PARTIAL)
    assert ["failure", "recovery"] == [event for event, _ in world.events()]


def finish(
    world: World, hour: int, status: Status, *, attempt: int = 1, wall_s: float | None = None, tell: bool = True
) -> int:
    """Write a run that ended so into the history, and tell of it."""
    execution = Execution(
        strategy="sequential", position=1, status=status, wall_s=wall_s, startup_s=0.0, user_s=0.1, system_s=0.1,
        max_rss_bytes=1, files=0, directories=1, entries=1_000,
    )  # fmt: skip
    run_id = begin_run(
        world.database,
        world.job,
        cause=Cause.SCHEDULE,
        scheduled_at=NOW + timedelta(hours=hour),
        clock=lambda: NOW + timedelta(hours=hour),
        environment=describe_environment(world.job.spec.root, workers=1, start_method="fork"),
        owner=describe_process(),
        attempt=attempt,
    )
    ending = Ending(
        status=status,
        finished_at=NOW + timedelta(hours=hour, seconds=attempt),
        executions=[execution] if wall_s else [],
        snapshot=Snapshot(whole(Part())) if wall_s else None,
    )
    assert finish_run(world.database, run_id, ending)
    if tell:
        world.notifier().tell(world.job, run_id)
    return run_id


def test_a_failure_is_told_only_when_the_last_attempt_has_failed(world: World) -> None:
    world.change(retries=2)
    world.run(1)
    world.lose_root()
    attempts = [finish(world, 2, Status.FAILED, attempt=attempt) for attempt in (1, 2, 3)]
    assert [("failure", attempts[-1])] == world.events()
    [finish(world, 3, Status.TIMED_OUT, attempt=attempt) for attempt in (1, 2, 3)]
    assert 1 == len(world.events())
    world.bring_root_back()
    finish(world, 4, Status.FAILED, attempt=1)
    # The firing before failed for good.
    assert ("recovery", world.run(4, attempt=2).run_id) == world.events()[-1]
    assert 2 == len(world.events())


def test_a_retry_that_succeeds_is_no_recovery_as_nothing_had_been_told(world: World) -> None:
    world.change(retries=2)
    world.run(1)
    finish(world, 2, Status.FAILED, attempt=1)
    world.run(2, attempt=2)
    finish(world, 3, Status.FAILED, attempt=1)
    world.run()  # by hand, before the retry
    assert [] == world.events()


def test_a_failure_is_told_at_once_where_the_next_firing_comes_before_the_retry(world: World) -> None:
    world.change(retries=2, retry_delay_s=3600)
    failed = finish(world, 2, Status.FAILED)
    assert [("failure", failed)] == world.events()
    finish(world, 3, Status.FAILED)
    assert [("failure", failed), ("recovery", world.run(4).run_id)] == world.events()


def test_a_failure_of_a_paused_job_is_told_as_it_is_not_tried_again(world: World) -> None:
    world.change(retries=2, paused=True)
    assert [("failure", finish(world, 2, Status.FAILED))] == world.events()


def test_what_was_not_carried_out_or_was_cancelled_tells_nothing_and_changes_nothing(world: World) -> None:
    world.run(1)
    (world.root / "b.md").write_text("b")
    world.run(2, stop=lambda: Status.CANCELLED)
    assert [] == world.events()
    world.lose_root()
    failed = world.run(3).run_id
    finish(world, 4, Status.CANCELLED)
    for status in (Status.MISSED, Status.SKIPPED):
        run_id = record_not_run(
            world.database, world.job, status=status, scheduled_at=NOW, now=NOW, message="", missed=1
        )
        world.notifier().tell(world.job, run_id)
    world.run(5)
    assert [("failure", failed)] == world.events()
    world.bring_root_back()
    assert [("recovery", world.run(6).run_id)] == [one for one in world.events() if one[0] == "recovery"]


@pytest.mark.parametrize("kind", ["added", "removed", "modified"])
def test_each_kind_of_change_is_told_but_not_what_the_first_run_finds(world: World, kind: str) -> None:
    world.run(1)
    a = world.root / "part" / "a.md"
    made: dict[str, Callable[[], object]] = {
        "added": (world.root / "b.md").touch,
        "removed": a.unlink,
        "modified": lambda: a.write_text("longer"),
    }
    made[kind]()
    changed = world.run(2)
    world.run(3)
    assert 1 == getattr(changed, kind)
    assert [("change", changed.run_id)] == world.events()


def test_what_comes_and_goes_with_the_patterns_is_no_change(world: World) -> None:
    (world.root / "b.txt").write_text("b")
    world.run(1)
    world.change(selection=Selection(patterns=("*.md", "*.txt")))
    assert 1 == world.run(2).added
    assert [] == world.events()
    (world.root / "c.txt").write_text("c")
    assert [("change", world.run(3).run_id)] == world.events()


def play(world: World, levels: list[float], *, seed: int = 0) -> list[int]:
    """Carry out a run for each level, an hour apart; gives the hours at which slowness was told."""
    random = Random(seed)  # noqa: S311  chance, not secrets
    began = world.now
    told = []
    for hour, level in enumerate(levels):
        world.now = began + timedelta(hours=hour + 1)
        run_id = finish(
            world,
            int((world.now - NOW) / timedelta(hours=1)),
            Status.SUCCEEDED,
            wall_s=level * (1 + random.uniform(-0.03, 0.03)),
        )
        told += [hour] if ("slow", run_id) in world.events() else []
    return told


def only_slow(world: World) -> None:
    world.change(notify=[one for one in world.job.spec.notify if one.event is Event.SLOW])


def test_a_lasting_slowness_is_told_once_and_again_when_it_comes_back(world: World) -> None:
    only_slow(world)
    [first] = play(world, [1.0] * 20 + [1.5] * 12)
    assert 20 < first
    assert [] == play(world, [1.0] * 15)
    assert 1 == len(play(world, [1.5] * 12))


def test_a_level_yet_slower_is_told_and_a_little_slower_is_not(world: World) -> None:
    only_slow(world)
    assert [] == play(world, [1.0] * 20 + [1.12] * 10)
    assert 1 == len(play(world, [1.5] * 12))
    assert [] == play(world, [1.3] * 12)
    assert 1 == len(play(world, [2.5] * 12))


def test_an_acknowledged_slowness_is_not_told(world: World) -> None:
    only_slow(world)
    levels = [1.0] * 20 + [1.5] * 12
    when = play(world, levels)
    assert [] == play(world, [1.5])
    other = add_job(world.database, replace(world.job.spec, name="other"), NOW)
    world.job = other
    quick = replace(other, spec=replace(other.spec, notify=()))
    world.job = quick
    play(world, levels[: when[0]])
    run_id = finish(world, 900, Status.SUCCEEDED, wall_s=1.5)
    environment = newest_environment(world)
    acknowledge(world.database, other.job_id, environment, "wall_per_entry_s", ["sequential"], run_id, NOW)
    world.job = other
    assert [] == play(world, [1.5] * 15)


def newest_environment(world: World) -> int:
    from runner.history.timings import list_timings

    return list_timings(world.database, world.job.job_id)[-1].environment


def test_of_a_command_that_takes_too_long_that_is_what_is_logged(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook_command, "LIMIT_S", 0.5)
    hangs = "import sys, time; sys.stderr.write('hunter2'); sys.stderr.flush(); time.sleep(60)"
    world.change(notify=(Notify(Event.FAILURE, (sys.executable, "-c", hangs)),))
    world.lose_root()
    run = world.run(1)
    said = f"failure not told: {sys.executable} ended after its time limit of 0.5 s; see `runner show {run.run_id}`"
    assert [said] == [record.getMessage() for record in caplog.records]


def test_every_command_is_recorded_with_how_it_took_it_and_none_stops_the_others(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    says = "import sys; sys.stderr.write('the server says no: hunter2'); sys.exit(4)"
    commands = [
        ("/nowhere/mailer", "--password", "hunter2"),
        (sys.executable, "-c", says),
        (sys.executable, "-c", LISTENER, str(world.told)),
    ]
    world.change(notify=tuple(Notify(Event.FAILURE, command) for command in commands))
    world.lose_root()
    with caplog.at_level("INFO"):
        run = world.run(1)
    assert [("failure", run.run_id)] == world.events()
    told = list_notifications(world.database, run)
    assert [
        (Event.FAILURE, commands[0], None, "can't be started: No such file or directory"),
        (Event.FAILURE, commands[1], 4, "the server says no: hunter2"),
        (Event.FAILURE, commands[2], 0, None),
    ] == [(one.event, one.command, one.exit_code, one.message) for one in told]
    assert all(one.started_at > NOW and one.wall_s > 0 for one in told)
    assert [
        "failure not told: /nowhere/mailer can't be started: No such file or directory; see `runner show 1`",
        f"failure not told: {sys.executable} ended with 4; see `runner show 1`",
        f"failure told to {sys.executable}",
    ] == [record.getMessage() for record in caplog.records]
    # Who could not be started hears of it as soon as that can be done.
    second = world.run(2)
    assert [commands[0]] == [one.command for one in list_notifications(world.database, second)]


def test_who_is_chosen_while_a_job_fails_is_told_at_the_next_failure(world: World) -> None:
    notify = world.job.spec.notify
    world.change(notify=())
    world.lose_root()
    world.run(1)
    world.change(notify=notify)
    assert [("failure", world.run(2).run_id)] == world.events()


def test_nothing_is_told_once_runner_is_stopped_and_the_next_process_does(world: World) -> None:
    world.run(1)
    failed = world.run(2, stop=lambda: Status.INTERRUPTED)
    shutil.rmtree(world.told)
    world.told.mkdir()
    assert Status.INTERRUPTED == failed.status
    other = add_job(world.database, replace(world.job.spec, name="other"), NOW)
    world.notifier(stop=lambda: Status.INTERRUPTED).tell(
        other, world.run(job=other, stop=lambda: Status.INTERRUPTED).run_id
    )
    asked = iter([None, None])
    hanging = Notify(Event.FAILURE, (sys.executable, "-c", "import time; time.sleep(60)"))
    third = replace(other.spec, name="third", notify=(hanging,))
    world.job = add_job(world.database, third, NOW)
    run_id = finish(world, 3, Status.FAILED, tell=False)
    world.notifier(stop=lambda: next(asked, Status.INTERRUPTED)).tell(world.job, run_id)
    [ended] = list_notifications(world.database, get_run(world.database, run_id))
    assert (None, "ended because runner was stopped") == (ended.exit_code, ended.message)
    assert None is last_notified_run(world.database, world.job.job_id, hanging, 0)


def test_a_failure_that_nobody_could_tell_is_told_once_by_the_next_process(world: World) -> None:
    world.run(1)
    failed = finish(world, 2, Status.INTERRUPTED, tell=False)
    for _ in range(2):
        world.notifier().notify_pending(world.job)
    assert [("failure", failed)] == world.events()
    world.run(3)
    world.notifier().notify_pending(world.job)
    assert [("failure", failed), ("recovery", failed + 1)] == world.events()


def test_a_failure_that_is_still_tried_again_is_left_to_the_retry(world: World) -> None:
    world.change(retries=1)
    finish(world, 2, Status.FAILED, tell=False)
    world.notifier().notify_pending(world.job)
    assert [] == world.events()


def test_a_history_that_cannot_be_written_harms_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.lose_root()

    def refuse(*_: object) -> None:
        raise HistoryError("the database is locked")

    monkeypatch.setattr(notifications, "record_notification", refuse)
    assert [("failure", world.run(1).run_id)] == world.events()
    monkeypatch.setattr(notifications, "get_run", refuse)
    world.run(2)
    assert 2 == caplog.text.count("the database is locked")


def test_what_was_told_goes_with_its_run_and_stays_with_the_others(world: World) -> None:
    (first, second), when = [finish(world, hour, Status.FAILED, tell=False) for hour in (1, 2)], datetime.now(UTC)
    for run_id, message in ((first, "old"), (second, "line\\n and caf\xe9")):
        record_notification(
            world.database,
            run_id,
            Notification(
                event=Event.CHANGE, command=("tell", "caf\udce9", "two words"), started_at=when, wall_s=0.5,
                exit_code=-9, message=message,
            ),
        )  # fmt: skip
    finish(world, 3, Status.SUCCEEDED, wall_s=1.0, tell=False)
    kept = get_run(world.database, second)
    expected = list_notifications(world.database, kept)
    assert [(("tell", "caf\udce9", "two words"), when, -9)] == [
        (one.command, one.started_at, one.exit_code) for one in expected
    ]
    old = get_run(world.database, first)
    assert 1 == prune(world.database, Retention(newest=2)).runs
    assert [] == list_notifications(world.database, old)
    assert expected == list_notifications(world.database, kept)
