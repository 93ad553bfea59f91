"""Notifications of real runs, by real commands, on every kind of database."""

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
from firings import add_due, add_not_run

from runner.execution.executor import fire
from runner.history.database import Database
from runner.history.jobs import add_job, change_job
from runner.history.notifications import last_notified_run, list_notifications, record_notification
from runner.history.prune import Retention, prune
from runner.history.recording import RunOutcome, begin_run, finish_run
from runner.history.runs import get_run
from runner.history.timings import acknowledge, list_timings
from runner.measure.environment import describe_environment, describe_process
from runner.measure.observer import RunObserver
from runner.model.errors import HistoryError
from runner.model.jobs import Event, Job, JobSpec, Notify, Schedule, ScheduleKind, Selection
from runner.model.notifications import Notification
from runner.model.runs import Execution, Run, Status
from runner.operations import hook_command, notifications
from runner.operations.notifications import Notifier
from runner.output.formats import event_text
from runner.output.records import show_record
from tests.benchmarks.snapshots import stored

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 22, tzinfo=UTC)
# Writes all it gets into a directory, under its number.
LISTENER = """
import json, os, sys
directory = sys.argv[1]
got = {"text": sys.stdin.read(), **{name: os.environ[f"RUNNER_{name.upper()}"] for name in ("event", "job", "run")}}
with open(os.path.join(directory, f"{len(os.listdir(directory)):04}"), "w") as file:
    json.dump(got, file)
"""


@dataclass
class World:
    """A job with a hook for every event, which writes its input into a file."""

    database: Database
    root: Path
    sent: Path
    job: Job
    hour: int = 0

    def run(self, at: int | None = None, *, job: Job | None = None, **observer: Any) -> Run:
        """Run the job, manually or for the fire time after some hours, and send the notifications."""
        job = job or self.job
        run_id = fire(
            self.database,
            job,
            add_due(self.database, job, None if at is None else NOW + timedelta(hours=at)),
            observer=RunObserver(**observer),
        )
        self.notifier().notify(job, run_id)
        return get_run(self.database, run_id)

    def notifier(self, **choices: Any) -> Notifier:
        return Notifier(self.database, event_text, **choices)

    def change(self, **choices: Any) -> None:
        self.job = change_job(self.database, self.job, replace(self.job.spec, **choices), datetime.now(UTC))

    def heard(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.sent.iterdir())]

    def events(self) -> list[tuple[str, int]]:
        return [(one["event"], int(one["run"])) for one in self.heard()]

    def lose_root(self) -> None:
        self.root.rename(self.root.with_name("elsewhere"))

    def bring_root_back(self) -> None:
        self.root.with_name("elsewhere").rename(self.root)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    root, sent = tmp_path / "docs", tmp_path / "sent"
    for directory in (root, root / "part", sent):
        directory.mkdir()
    (root / "part" / "a.md").write_text("a")
    notify = tuple(Notify(event, (sys.executable, "-c", LISTENER, str(sent))) for event in Event)
    schedule = Schedule(kind=ScheduleKind.EVERY, expression="1h", timezone="UTC", interval_origin=NOW)
    spec = JobSpec(name="docs", root=os.fsencode(root), strategies=("sequential",), notify=notify, schedule=schedule)
    return World(database=database, root=root, sent=sent, job=add_job(database, spec, NOW))


def test_a_hook_gets_the_record_of_show(world: World) -> None:
    world.run(1)
    (world.root / "b.md").write_text("b")
    run = world.run(2)
    [heard] = world.heard()
    assert ("change", "docs", str(run.run_id)) == (heard["event"], heard["job"], heard["run"])
    got = json.loads(heard["text"])
    assert ["b.md"] == [change["path"] for change in got["changes"]]
    assert "change" == got.pop("event")
    # Other notifications and their commands are not part of it.
    assert json.loads(json.dumps(show_record(run))) | {"changes": got["changes"]} == got
    assert [] == got["notifications"]


def test_a_failure_is_notified_once_until_success(world: World) -> None:
    world.run(1)
    world.run(2)
    world.run()
    world.lose_root()
    first, *_ = [world.run(hour).run_id for hour in (3, 4, 5)]
    assert [("failure", first)] == world.events()
    world.bring_root_back()
    back = world.run(6).run_id
    world.run(7)
    world.lose_root()
    again = world.run(8).run_id
    assert [("failure", first), ("recovery", back), ("failure", again)] == world.events()


def finish(
    world: World, hour: int | None, status: Status, *, attempt: int = 1, wall_s: float | None = None, tell: bool = True
) -> int:
    """Record a run with this status, of a fire time after some hours or manual, and send its notifications."""
    started_at = NOW + timedelta(hours=hour or 100)
    execution = Execution(
        strategy="sequential", position=1, status=status, wall_s=wall_s, startup_s=0.0, user_s=0.1, system_s=0.1,
        max_rss_bytes=1, files=0, directories=1, entries=1_000,
    )  # fmt: skip
    run_id = begin_run(
        world.database,
        world.job,
        add_due(world.database, world.job, None if hour is None else started_at, attempt=attempt),
        clock=lambda: started_at,
        environment=describe_environment(world.job.spec.root, workers=1, start_method="fork"),
        owner=describe_process(),
    )
    ending = RunOutcome(
        status=status,
        finished_at=started_at + timedelta(seconds=attempt),
        executions=[execution] if wall_s else [],
        snapshot=stored() if wall_s else None,
    )
    assert finish_run(world.database, run_id, ending)
    if tell:
        world.notifier().notify(world.job, run_id)
    return run_id


STATUSES = {"F": Status.FAILED, "T": Status.TIMED_OUT, "S": Status.SUCCEEDED, "P": Status.PARTIAL}


@pytest.mark.parametrize(
    ("choices", "runs", "expected"),
    [
        # Runs by their hour and status, those of one hour being attempts; M is a manual one.
        ({}, "1F 2S", [("failure", 1), ("recovery", 2)]),
        ({}, "1S 2P 3T 4P", [("failure", 3), ("recovery", 4)]),
        ({"retries": 2}, "1S 2F 2F 2F 3T 3T 3T", [("failure", 4)]),
        ({"retries": 2}, "1F 1F 1F 2F 2S", [("failure", 3), ("recovery", 5)]),
        ({"retries": 2}, "1S 2F 2S 3F MS", []),
        ({"retries": 2, "retry_delay_s": 3600}, "2F 3F 4S", [("failure", 1), ("recovery", 3)]),
        ({"retries": 2, "paused": True}, "2F", [("failure", 1)]),
    ],
)
def test_failures_and_recoveries_of_firings_are_notified(
    world: World, choices: dict[str, Any], runs: str, expected: list[tuple[str, int]]
) -> None:
    world.change(**choices)
    words = runs.split()
    for number, word in enumerate(words):
        hour, status = word[0], word[1]
        attempt = 1 + sum(earlier[0] == hour for earlier in words[:number])
        finish(world, None if hour == "M" else int(hour), STATUSES[status], attempt=attempt)
    assert expected == world.events()


def test_missed_skipped_and_cancelled_runs_are_not_notified(world: World) -> None:
    world.run(1)
    (world.root / "b.md").write_text("b")
    world.run(2, stop=lambda: Status.CANCELLED)
    assert [] == world.events()
    world.lose_root()
    failed = world.run(3).run_id
    finish(world, 4, Status.CANCELLED)
    for status in (Status.MISSED, Status.SKIPPED):
        run_id = add_not_run(world.database, world.job, status, NOW, now=NOW, missed=1)
        world.notifier().notify(world.job, run_id)
    world.run(5)
    assert [("failure", failed)] == world.events()
    world.bring_root_back()
    assert [("recovery", world.run(6).run_id)] == [one for one in world.events() if one[0] == "recovery"]


@pytest.mark.parametrize("kind", ["added", "removed", "modified"])
def test_changes_are_notified_but_not_the_first_snapshot(world: World, kind: str) -> None:
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


def test_changed_patterns_are_no_change_of_files(world: World) -> None:
    (world.root / "b.txt").write_text("b")
    world.run(1)
    world.change(selection=Selection(patterns=("*.md", "*.txt")))
    assert 1 == world.run(2).added
    assert [] == world.events()
    (world.root / "c.txt").write_text("c")
    assert [("change", world.run(3).run_id)] == world.events()


def play(world: World, levels: list[float]) -> list[int]:
    """Run for each level, an hour apart; return the hours with a notification."""
    random = Random(0)  # noqa: S311  chance, not secrets
    sent = []
    for number, level in enumerate(levels):
        world.hour += 1
        run_id = finish(world, world.hour, Status.SUCCEEDED, wall_s=level * (1 + random.uniform(-0.03, 0.03)))
        sent += [number] if ("slow", run_id) in world.events() else []
    return sent


def only_slow(world: World) -> None:
    world.change(notify=[one for one in world.job.spec.notify if one.event is Event.SLOW])


@pytest.mark.parametrize(
    "parts",
    [
        # Levels, and the number of notifications.
        [([1.0] * 20 + [1.5] * 12, 1), ([1.0] * 15, 0), ([1.5] * 12, 1)],
        [([1.0] * 20 + [1.12] * 10, 0), ([1.5] * 12, 1), ([1.3] * 12, 0), ([2.5] * 12, 1)],
    ],
    ids=["when it returns", "when it is clearly slower"],
)
def test_a_slow_level_is_notified_once(world: World, parts: list[tuple[list[float], int]]) -> None:
    only_slow(world)
    for levels, expected in parts:
        assert expected == len(play(world, levels))


def test_an_acknowledged_slow_level_is_not_notified(world: World) -> None:
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
    environment = list_timings(world.database, world.job.job_id)[-1].environment
    acknowledge(world.database, other.job_id, environment, "wall_per_entry_s", ["sequential"], run_id, NOW)
    world.job = other
    assert [] == play(world, [1.5] * 15)


def test_a_hook_timeout_is_logged_without_its_output(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook_command, "LIMIT_S", 0.5)
    hangs = "import sys, time; sys.stderr.write('hunter2'); sys.stderr.flush(); time.sleep(60)"
    world.change(notify=(Notify(Event.FAILURE, (sys.executable, "-c", hangs)),))
    world.lose_root()
    run = world.run(1)
    failed = f"failure notification failed: {sys.executable} ended after its time limit of 0.5 s"
    assert [f"{failed}; see `runner show {run.run_id}`"] == [record.getMessage() for record in caplog.records]


def test_every_hook_result_is_recorded_and_stops_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    says = "import sys; sys.stderr.write('the server says no: hunter2'); sys.exit(4)"
    commands = [
        ("/nowhere/mailer", "--password", "hunter2"),
        (sys.executable, "-c", says),
        (sys.executable, "-c", LISTENER, str(world.sent)),
    ]
    world.change(notify=tuple(Notify(Event.FAILURE, command) for command in commands))
    world.lose_root()
    with caplog.at_level("INFO"):
        run = world.run(1)
    assert [("failure", run.run_id)] == world.events()
    sent = list_notifications(world.database, run)
    assert [
        (Event.FAILURE, commands[0], None, "can't be started: No such file or directory"),
        (Event.FAILURE, commands[1], 4, "the server says no: hunter2"),
        (Event.FAILURE, commands[2], 0, None),
    ] == [(one.event, one.command, one.exit_code, one.message) for one in sent]
    assert all(one.started_at > NOW and one.wall_s > 0 for one in sent)
    assert [
        "failure notification failed: /nowhere/mailer can't be started: No such file or directory; see `runner show 1`",
        f"failure notification failed: {sys.executable} ended with 4; see `runner show 1`",
        f"failure notification sent to {sys.executable}",
    ] == [record.getMessage() for record in caplog.records]
    # A command that could not be started, or is new, gets the next failure.
    new = Notify(Event.FAILURE, (*commands[2], "new"))
    world.change(notify=(*world.job.spec.notify, new))
    second = world.run(2)
    assert [commands[0], new.command] == [one.command for one in list_notifications(world.database, second)]


def test_after_a_stop_the_next_process_notifies(world: World) -> None:
    world.run(1)
    failed = world.run(2, stop=lambda: Status.INTERRUPTED)
    shutil.rmtree(world.sent)
    world.sent.mkdir()
    assert Status.INTERRUPTED == failed.status
    other = add_job(world.database, replace(world.job.spec, name="other"), NOW)
    world.notifier(stop=lambda: Status.INTERRUPTED).notify(
        other, world.run(job=other, stop=lambda: Status.INTERRUPTED).run_id
    )
    asked = iter([None, None])
    hanging = Notify(Event.FAILURE, (sys.executable, "-c", "import time; time.sleep(60)"))
    third = replace(other.spec, name="third", notify=(hanging,))
    world.job = add_job(world.database, third, NOW)
    run_id = finish(world, 3, Status.FAILED, tell=False)
    world.notifier(stop=lambda: next(asked, Status.INTERRUPTED)).notify(world.job, run_id)
    [ended] = list_notifications(world.database, get_run(world.database, run_id))
    assert (None, "ended because runner was stopped") == (ended.exit_code, ended.message)
    assert None is last_notified_run(world.database, world.job.job_id, hanging, 0)


@pytest.mark.parametrize("retries", [0, 1])
def test_a_pending_failure_is_notified_once_by_the_next_process(world: World, retries: int) -> None:
    world.change(retries=retries)
    world.run(1)
    failed = finish(world, 2, Status.FAILED, tell=False)
    for _ in range(2):
        world.notifier().notify_pending(world.job)
    if retries:  # one follows: it is no failure yet
        assert [] == world.events()
        return
    assert [("failure", failed)] == world.events()
    world.run(3)
    world.notifier().notify_pending(world.job)
    assert [("failure", failed), ("recovery", failed + 1)] == world.events()


def test_an_unwritable_history_is_harmless(
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


def test_notifications_are_deleted_with_their_run(world: World) -> None:
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
