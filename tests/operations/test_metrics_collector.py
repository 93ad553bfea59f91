"""The metrics of a daemon, and how they follow the history."""

import os
import stat
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import until
from firings import add_due, add_not_run
from prometheus_client.parser import text_string_to_metric_families

from runner.execution.executor import fire
from runner.history.database import Database
from runner.history.jobs import add_job, change_job, remove_job, set_back
from runner.history.prune import Retention, prune
from runner.measure.observer import RunObserver
from runner.model.errors import HistoryError, UsageError
from runner.model.file_replacement import replace_file
from runner.model.jobs import Job, JobSpec, Schedule, ScheduleKind
from runner.model.runs import Status
from runner.operations.metrics_collector import MetricsCollector
from runner.operations.metrics_text import metrics_text
from runner.operations.metrics_writer import MetricsWriter

NOW = datetime(2026, 11, 22, 10, 0, 30, tzinfo=UTC)
HOURLY = Schedule(kind=ScheduleKind.CRON, expression="0 * * * *", timezone="UTC", interval_origin=NOW)


def register(database: Database, root: Path, name: str = "docs", schedule: Schedule | None = HOURLY) -> Job:
    spec = JobSpec(name=name, root=os.fsencode(root), strategies=("sequential",), schedule=schedule)
    return add_job(database, spec, NOW - timedelta(days=1))


def carry_out(database: Database, job: Job) -> int:
    return fire(database, job, add_due(database, job, datetime.now(UTC)))


def look(collector: MetricsCollector, now: datetime = NOW) -> dict[str, float]:
    """Return what Prometheus reads after an update: by name without prefix, with the values of the labels."""
    collector.update()
    text = metrics_text(collector.samples(now, up=True, alive_at=now))
    return {
        " ".join([sample.name.removeprefix("runner_"), *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def ended(metrics: dict[str, float], job: str = "docs") -> dict[str, float]:
    """Return the numbers of finished runs by status, except zeros."""
    prefix = f"runs_total {job} "
    return {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix) and value}


def test_the_last_run_is_known_at_start_and_counts_are_zero(database: Database, tree: Path) -> None:
    job = register(database, tree)
    carry_out(database, job)
    tree.rename(tree.with_name("away"))
    carry_out(database, job)  # fails
    metrics = look(MetricsCollector(database, NOW))
    assert {} == ended(metrics)
    assert [0] * 6 == [value for name, value in metrics.items() if name.startswith("runs_total docs ")]
    assert [7, 5] == [metrics["files docs"], metrics["directories docs"]]
    assert 0 < metrics["last_run_duration_seconds docs sequential"] < metrics["run_duration_seconds docs"]
    assert abs(metrics["last_success_timestamp_seconds docs"] - time.time()) < 60
    assert [1, 1, NOW.timestamp()] == [metrics[name] for name in ("up", "jobs", "start_timestamp_seconds")]


def test_unknown_values_have_no_sample(database: Database, tree: Path) -> None:
    register(database, tree, schedule=None)
    metrics = look(MetricsCollector(database, NOW))
    of_job = {name: value for name, value in metrics.items() if "docs" in name}
    assert {"runs_total", "missed_fire_times_total", "skipped_fire_times_total"} == {key.split()[0] for key in of_job}
    assert {0} == set(of_job.values())


def test_each_run_that_ends_is_counted_once(database: Database, tree: Path) -> None:
    job = register(database, tree)
    carry_out(database, job)
    collector = MetricsCollector(database, NOW)
    for times in range(1, 4):
        carry_out(database, job)
        for _ in range(2):
            metrics = look(collector)
            assert {"succeeded": times} == ended(metrics)
            assert times == metrics["lateness_seconds_count"]
    (tree / "new.md").touch()
    carry_out(database, job)
    tree.rename(tree.with_name("away"))
    carry_out(database, job)
    assert {"succeeded": 4, "failed": 1} == ended(look(collector))
    assert 8 == look(collector)["files docs"]


def test_a_run_counts_as_running_until_it_ends(database: Database, tree: Path) -> None:
    job = register(database, tree)
    collectors = [MetricsCollector(database, NOW)]

    def on_strategy(_name: str, _position: int) -> None:
        metrics = look(collectors[0])
        assert (1, {}) == (metrics["runs_running"], ended(metrics))
        collectors.append(MetricsCollector(database, NOW))

    fire(database, job, observer=RunObserver(on_strategy=on_strategy))
    assert [(0, {"succeeded": 1})] * 2 == [(look(one)["runs_running"], ended(look(one))) for one in collectors]


def test_missed_fire_times_are_counted_one_by_one(database: Database, tree: Path) -> None:
    job = register(database, tree)
    collector = MetricsCollector(database, NOW)
    for status, missed in ((Status.MISSED, 5), (Status.SKIPPED, 0), (Status.MISSED, 1)):
        add_not_run(database, job, status, NOW, now=NOW, message="x", missed=missed)
    metrics = look(collector)
    assert (6, 1) == (metrics["missed_fire_times_total docs"], metrics["skipped_fire_times_total docs"])
    assert {} == ended(metrics)


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
    metrics = look(collector)
    assert [{"succeeded": 1}] * 2 == [ended(metrics, name) for name in ("one", "two")]
    change_job(database, jobs[0], replace(jobs[0].spec, name="first"), NOW)
    remove_job(database, jobs[1], NOW)
    metrics = look(collector)
    assert [{"succeeded": 1}, {}, {}] == [ended(metrics, name) for name in ("first", "one", "two")]
    assert 1 == metrics["jobs"]


def test_the_next_fire_time_follows_the_clock(database: Database, tree: Path) -> None:
    job = register(database, tree)
    collector = MetricsCollector(database, NOW)
    for hours in (0, 1, 3, 2, -2400):
        now = NOW + timedelta(hours=hours)
        if hours < 0:  # the job was registered by a clock that was fast
            set_back(database, {job.job_id}, now)
        next_at = now.replace(minute=0, second=0) + timedelta(hours=1)
        assert next_at.timestamp() == look(collector, now)["next_fire_timestamp_seconds docs"]


def test_an_error_and_its_end_are_logged_once(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "runner.prom"
    writer = MetricsWriter(database, str(path))
    writer._collector = MetricsCollector(database, NOW)

    def locked(_collector: MetricsCollector) -> None:
        raise HistoryError("the database is locked")

    def full(_path: Path, _content: bytes, *, durable: bool) -> None:  # noqa: ARG001
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("runner.operations.metrics_writer.replace_file", full)
        writer._write(up=True)
        writer._write(up=True)
    monkeypatch.setattr(MetricsCollector, "update", locked)  # what was known before is written
    writer._write(up=True)
    writer._write(up=True)
    assert "\nrunner_up 1\n" in path.read_text()
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
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(tmp_path / "directory", b"x", durable=durable)
    assert {"directory", "runner.prom"} == set(os.listdir(tmp_path))


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
        MetricsWriter(database, path)


def test_leftovers_are_removed_and_a_link_stays(database: Database, tmp_path: Path) -> None:
    target, link = tmp_path / "there" / "runner.prom", tmp_path / "runner.prom"
    target.parent.mkdir()
    link.symlink_to(target)
    left, other = target.with_name(".runner.prom.abc.new"), target.with_name(".other.prom.abc.new")
    for path in (left, other):
        path.touch()
    writer = MetricsWriter(database, str(link))
    writer.start()
    until(target.exists, "the file")
    writer.stop()
    assert "\nrunner_up 0\n" in target.read_text()
    assert link.is_symlink()
    assert [False, True] == [left.exists(), other.exists()]
