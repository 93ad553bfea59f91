import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from reader import Reader, reading
from sqlalchemy import insert

from runner.history.database import Database
from runner.history.jobs import add_job
from runner.history.tables import runs
from runner.model.jobs import JobSpec, Schedule, ScheduleKind
from runner.web import tracks

DAY = datetime(2026, 3, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def reader(place: str, database: Database) -> Iterator[Reader]:
    del database  # has made the tables
    with reading(place) as opened:
        yield opened


def add(database: Database, name: str, every: str | None = None, **values: Any) -> int:
    schedule = every and Schedule(kind=ScheduleKind.EVERY, expression=every, timezone="UTC", interval_origin=DAY)
    return add_job(database, JobSpec(name=name, root=b"/srv", schedule=schedule or None, **values), DAY).job_id


def record(
    database: Database, job: int, hour: float, status: str = "succeeded", hours: float = 0.0, **values: Any
) -> None:
    """Add a row that began so many hours after midnight."""
    at = DAY + hour * HOUR
    instants = {"scheduled_at": at, "finished_at": None if status == "running" else at + hours * HOUR}
    if status not in {"missed", "skipped"}:
        instants["started_at"] = at
    with database.write() as connection:
        same = {"job_id": job, "selection_id": 1, "cause": "schedule", "status": status}
        connection.execute(insert(runs).values(**same, **instants, **values))


def marks(page: str) -> list[tuple[str, str, str, str]]:
    """Return the addresses, classes, tooltips and shapes of the marks."""
    return re.findall(r'<a href="([^"]+)" class="([a-z_]+)"><title>([^<]+)</title><path d="([^"]+)"/>', page)


def test_every_run_is_drawn_at_its_time(reader: Reader, database: Database) -> None:
    job = add(database, "docs")
    record(database, job, 6, hours=3)
    record(database, job, 12, "failed")
    record(database, job, 18, "skipped")
    assert [
        ("runs/3", "skipped", "skipped, 10 Mar 18:00", "M720 6h3v8h-3z"),
        ("runs/1", "succeeded", "succeeded 3h, 10 Mar 06:00", "M240 5h120v10h-120z"),
        ("runs/2", "failed", "failed 0 s, 10 Mar 12:00", "M480 2h3v16h-3z"),
    ] == marks(reader.text("/timeline?day=2026-03-10"))


def test_runs_within_one_pixel_are_one_mark_with_a_count(reader: Reader, database: Database) -> None:
    job = add(database, "docs")
    for second in range(3):
        record(database, job, 6 + second / 3600)
    ((address, _, text, _),) = marks(reader.text("/timeline?day=2026-03-10"))
    assert "3 runs succeeded, 10 Mar 06:00" == text
    assert 3 == reader.text("/" + address.replace("&amp;", "&")).count('class="num"><a href="./runs/')


def test_a_gap_lasts_as_long_as_it_did(reader: Reader, database: Database) -> None:
    record(database, add(database, "docs"), 12, "missed", hours=24, missed=24)
    page = reader.text("/timeline?day=2026-03-11")
    assert [("missed", "24 fire times missed, from 10 Mar 12:00", "M0 6h480v8h-480z")] == [
        mark[1:] for mark in marks(page)
    ]
    assert "0 runs" in page


def test_a_running_run_reaches_to_the_present(reader: Reader, database: Database) -> None:
    job = add(database, "docs")
    record(database, job, (datetime.now(UTC) - DAY) / HOUR - 2, "running")
    ((_, status, text, shape),) = marks(reader.text("/timeline?span=week"))
    assert ("running", 0) == (status, text.count(" s,"))
    assert re.fullmatch(r"M\d+ 3h1[12]v14h-1[12]z|M0 3h\d+v14h-\d+z", shape)  # two hours of a week, or since Monday


def test_links_lead_to_other_days_and_weeks(reader: Reader, database: Database) -> None:
    add(database, "docs")
    page = reader.text("/timeline?day=2026-03-10&span=week")
    assert "Mon 09 Mar to Sun 15 Mar 2026: 0 runs" in page
    assert 'rel="prev" href="?day=2026-03-02&amp;span=week"' in page
    assert 'rel="next" href="?day=2026-03-16&amp;span=week"' in page
    assert ["Mon 09", "Sun 15"] == re.findall(r"<span>(\w{3} \d\d)</span>", page)[::6]
    assert (
        400 == reader.get("/timeline?day=2026-02-30").status_code == reader.get("/timeline?day=0001-01-01").status_code
    )


def test_a_day_of_23_hours(reader: Reader, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    add(database, "docs")
    page = reader.text("/timeline?day=2026-03-29")
    assert ["00", "", "03", "", "", "06"] == re.findall(r"<span>(\d*)</span>", page)[:6]
    assert 23 == len(re.findall(r"<span>\d*</span>", page))


def test_busy_hours(reader: Reader, database: Database) -> None:
    jobs = [add(database, name) for name in ("docs", "mail")]
    for job in jobs:
        record(database, job, 7.2)
    record(database, jobs[0], 9)
    page = reader.text("/timeline?day=2026-03-10")
    assert "3 runs, busiest: Tue 07:00 with 2 runs" in page
    assert '<rect x="281" width="38" y="0.0" height="40"/><rect x="361" width="38" y="20' in page.replace(
        '"0"', '"0.0"'
    )


def test_coming_fire_times_by_hour(reader: Reader, database: Database) -> None:
    add(database, "docs", "15m")
    add(database, "mail", "1s")
    add(database, "paused", "1h", paused=True)
    page = reader.text("/timeline")
    cells = re.findall(r"<td(?: class=\"l\d\")?>(\w*)</td>", page[page.rindex("<tbody>") :])
    assert 7 * 24 == len(cells)
    assert {"", "3k"} == set(cells[:24]) | {""}
    assert {"3k"} == set(cells[24:])


def test_one_job_alone(reader: Reader, database: Database) -> None:
    for name in ("docs", "mail"):
        record(database, add(database, name), 6)
    page = reader.text("/timeline?day=2026-03-10&job=mail")
    assert ["runs/2"] == [mark[0] for mark in marks(page)]
    listed = reader.get("/timeline.json?day=2026-03-10&job=2").json()
    assert [2] == [run["run"] for run in listed]
    assert [2, 1] == [run["run"] for run in reader.get("/timeline.json?day=2026-03-10").json()]
    assert [] == reader.get("/timeline.json?day=2026-03-11").json()


def test_many_marks_are_shapes_without_links(
    reader: Reader, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracks, "_MOST_LINKED", 2)
    job = add(database, "docs")
    for hour in (6, 12, 18):
        record(database, job, hour)
    page = reader.text("/timeline?day=2026-03-10")
    assert [] == marks(page)
    assert 'class="succeeded" d="M240 5h3v10h-3zM480 5h3v10h-3zM720 5h3v10h-3z"' in page


def test_many_jobs_are_paged(reader: Reader, database: Database) -> None:
    for number in range(101):
        add(database, f"job-{number:03}")
    page = reader.text("/timeline")
    assert 50 == page.count('<svg class="track" ')
    assert 'href="?after=50">More jobs' in page
    assert 50 == reader.text("/timeline?after=50").count('<svg class="track" ')


def test_no_jobs(reader: Reader) -> None:
    assert "No jobs yet" in reader.text("/timeline")
