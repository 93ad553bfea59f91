"""The metrics of a daemon, and how they follow the history."""

import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import until
from firings import add_due, add_not_run

from runner.execution.executor import fire
from runner.history.database import Database
from runner.history.jobs import add_job, change_job, remove_job, set_back
from runner.history.prune import Retention, prune
from runner.model.errors import HistoryError, UsageError
from runner.model.file_replacement import replace_file
from runner.model.jobs import Job, JobSpec, Schedule, ScheduleKind
from runner.model.metrics import JobMetrics, Metrics
from runner.model.runs import Status
from runner.operations.metrics_collector import MetricsCollector
from runner.operations.metrics_writer import MetricsWriter

NOW = datetime(2026, 11, 22, 10, 0, 30, tzinfo=UTC)
HOURLY = Schedule(kind=ScheduleKind.CRON, expression="0 * * * *", timezone="UTC", anchor_at=NOW)


def register(database: Database, root: Path, name: str = "docs", schedule: Schedule | None = HOURLY) -> Job:
    spec = JobSpec(name=name, root=os.fsencode(root), strategies=("sequential",), schedule=schedule)
    return add_job(database, spec, NOW - timedelta(days=1))


def carry_out(database: Database, job: Job) -> int:
    return fire(database, job, add_due(database, job, datetime.now(UTC)))


def look(collector: MetricsCollector, now: datetime = NOW) -> Metrics:
    collector.update()
    return collector.metrics(now, up=True, alive_at=now)


def only(metrics: Metrics) -> JobMetrics:
    (job,) = metrics.jobs
    return job


def test_the_last_run_is_known_at_start_and_counts_are_zero(database: Database, tree: Path) -> None:
    job = register(database, tree)
    carry_out(database, job)
    tree.rename(tree.with_name("away"))
    carry_out(database, job)  # fails
    known = only(look(MetricsCollector(database, NOW)))
    assert {} == known.ended
    assert [7, 5] == [known.files, known.directories]
    assert known.succeeded_at is not None
    assert known.wall_s is not None
    assert ["sequential"] == list(known.strategy_wall_s)


def test_each_run_that_ends_is_counted_once(database: Database, tree: Path) -> None:
    job = register(database, tree)
    carry_out(database, job)
    collector = MetricsCollector(database, NOW)
    for times in range(1, 4):
        carry_out(database, job)
        for _ in range(2):
            metrics = look(collector)
            assert {Status.SUCCEEDED: times} == only(metrics).ended
            assert times == sum(metrics.lateness_s.counts)
    (tree / "new.md").touch()
    carry_out(database, job)
    tree.rename(tree.with_name("away"))
    carry_out(database, job)
    assert {Status.SUCCEEDED: 4, Status.FAILED: 1} == only(look(collector)).ended
    assert 8 == only(look(collector)).files


def test_a_run_counts_as_running_until_it_ends(database: Database, tree: Path) -> None:
    from runner.measure.observer import RunObserver

    job = register(database, tree)
    before, seen = MetricsCollector(database, NOW), []

    def on_strategy(_name: str, _position: int) -> None:
        seen.append((look(before).running, only(look(before)).ended))
        begun.append(MetricsCollector(database, NOW))

    begun: list[MetricsCollector] = []
    fire(database, job, observer=RunObserver(on_strategy=on_strategy))
    assert [(1, {})] == [(running, dict(ended)) for running, ended in seen[:1]]
    for collector in (before, *begun):
        assert 0 == look(collector).running
        assert {Status.SUCCEEDED: 1} == only(look(collector)).ended


def test_missed_fire_times_are_counted_one_by_one(database: Database, tree: Path) -> None:
    job = register(database, tree)
    collector = MetricsCollector(database, NOW)
    for status, missed in ((Status.MISSED, 5), (Status.SKIPPED, 0), (Status.MISSED, 1)):
        add_not_run(database, job, status, NOW, now=NOW, message="x", missed=missed)
    known = only(look(collector))
    assert (6, 1, {}) == (known.missed, known.skipped, known.ended)


def test_deleting_runs_lowers_no_count(database: Database, tree: Path) -> None:
    job = register(database, tree)
    collector = MetricsCollector(database, NOW)
    for _ in range(3):
        carry_out(database, job)
    before = look(collector)
    prune(database, Retention(newest=1))
    assert before == look(collector)


def test_removed_jobs_disappear_and_renamed_ones_change(database: Database, tree: Path) -> None:
    jobs = [register(database, tree, name) for name in ("one", "two")]
    collector = MetricsCollector(database, NOW)
    for job in jobs:
        carry_out(database, job)
    assert ["one", "two"] == [job.job for job in look(collector).jobs]
    from dataclasses import replace

    change_job(database, jobs[0], replace(jobs[0].spec, name="first"), NOW)
    remove_job(database, jobs[1], NOW)
    known = only(look(collector))
    assert ("first", {Status.SUCCEEDED: 1}) == (known.job, known.ended)


def test_the_next_fire_time_follows_the_clock(database: Database, tree: Path) -> None:
    register(database, tree)
    collector = MetricsCollector(database, NOW)
    for hours in (0, 1, 3, 2):
        now = NOW + timedelta(hours=hours)
        assert now.replace(minute=0, second=0) + timedelta(hours=1) == only(look(collector, now)).next_at


def test_a_job_registered_by_a_fast_clock_fires_by_the_clock(database: Database, tree: Path) -> None:
    job = register(database, tree)
    collector = MetricsCollector(database, NOW)
    look(collector)
    set_back(database, {job.job_id}, now := NOW - timedelta(days=100))
    assert now.replace(minute=0, second=0) + timedelta(hours=1) == only(look(collector, now)).next_at


def test_a_job_without_schedule_has_no_next_fire_time(database: Database, tree: Path) -> None:
    register(database, tree, schedule=None)
    assert only(look(MetricsCollector(database, NOW))).next_at is None


@pytest.fixture
def write(database: Database, tmp_path: Path) -> Callable[[], None]:
    writer = MetricsWriter(database, str(tmp_path / "runner.prom"), lambda metrics: f"{metrics.up}\n")
    writer._collector = MetricsCollector(database, NOW)
    return lambda: writer._write(up=True)


def test_the_file_is_written_while_the_database_is_locked(
    write: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(_collector: MetricsCollector) -> None:
        raise HistoryError("the database is locked")

    monkeypatch.setattr(MetricsCollector, "update", locked)
    write()
    assert "True\n" == (tmp_path / "runner.prom").read_text()


def test_an_error_and_its_end_are_logged_once(
    write: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    def full(_path: Path, _content: bytes, *, durable: bool) -> None:  # noqa: ARG001
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("runner.operations.metrics_writer.replace_file", full)
        write()
        write()
    write()
    write()
    path = tmp_path / "runner.prom"
    assert [
        f"the metrics file {path} can't be written: No space left on device; trying again",
        f"the metrics file {path} is written again",
    ] == caplog.messages


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_whole_and_readable_by_all(tmp_path: Path, *, durable: bool) -> None:
    path = tmp_path / "runner.prom"
    path.write_text("old\n")
    held = path.open()
    mask = os.umask(0o077)
    try:
        replace_file(path, "ä\n".encode(), durable=durable)
    finally:
        os.umask(mask)
    assert "old\n" == held.read()
    held.close()
    assert "ä\n" == path.read_text("utf-8")
    assert 0o644 == stat.S_IMODE(path.stat().st_mode)
    assert ["runner.prom"] == os.listdir(tmp_path)


def test_a_failed_replacement_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "runner.prom").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(tmp_path / "runner.prom", b"x", durable=False)
    assert ["runner.prom"] == os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("path", "said"),
    [("", "is empty"), ("missing/x.prom", "missing does not exist"), (".", "not a regular file"), ("pipe", "regular")],
)
def test_an_impossible_metrics_file_is_refused(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(UsageError, match=said):
        MetricsWriter(database, path, lambda _: "")


def test_leftovers_are_removed_and_a_link_stays(database: Database, tmp_path: Path) -> None:
    target, link = tmp_path / "there" / "runner.prom", tmp_path / "runner.prom"
    target.parent.mkdir()
    link.symlink_to(target)
    left, other = target.with_name(".runner.prom.abc.new"), target.with_name(".other.prom.abc.new")
    for path in (left, other):
        path.touch()
    writer = MetricsWriter(database, str(link), lambda metrics: f"{metrics.up}\n")
    writer.start()
    until(target.exists, "the file")
    writer.stop()
    assert "False\n" == target.read_text()
    assert link.is_symlink()
    assert [False, True] == [left.exists(), other.exists()]
