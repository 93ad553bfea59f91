import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Program
from reader import Reader, reading
from sqlalchemy import insert

from runner.history.database import Database
from runner.history.jobs import add_job
from runner.history.notifications import record_notification
from runner.history.tables import differences, problems, runs
from runner.model.jobs import Event, JobSpec
from runner.model.notifications import Notification
from runner.model.runs import Status
from tests.benchmarks.histories import write_history

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def reader(place: str, database: Database) -> Iterator[Reader]:
    del database  # has made the tables
    with reading(place) as opened:
        yield opened


@pytest.fixture
def job(database: Database) -> int:
    return add_job(database, JobSpec(name="docs", root=b"/srv/\xff"), NOW).job_id


def record(database: Database, job: int, **values: Any) -> int:
    """Add a row of runs."""
    defaults = {"job_id": job, "selection_id": 1, "cause": "schedule", "status": "succeeded", "scheduled_at": NOW}
    with database.write() as connection:
        key = connection.execute(insert(runs).values({**defaults, **values})).inserted_primary_key
    assert key is not None
    return int(key[0])


def facts(page: str) -> dict[str, str]:
    """Return the facts of a page, without markup."""
    pairs = re.findall(r"<dt>(.+?)</dt>\s*<dd>(.+?)</dd>", page, re.DOTALL)
    return {key: " ".join(re.sub("<[^>]+>", "", value).split()) for key, value in pairs}


def test_a_real_run_is_shown_whole(program: Program, tree: Path) -> None:
    for number in range(3):
        program.call("run", "docs")
        (tree / f"{number}.md").write_text("new\n")
    with reading(str(program.database)) as reader:
        page = reader.text("/runs/3")
        assert program.json("show", "3") == reader.get("/runs/3.json").json()
        listed = reader.get("/runs.json").json()
    assert program.json("history") == listed
    assert "9 in 5 directories" == facts(page)["files"]
    rows = dict(re.findall(r'<tr><th scope="row">([^<]+)</th><td class="num">([^<]+)</td>', page))
    assert {"wall", "of sequential", "start-up", "CPU / wall", "cache", "workers", "entries"} <= set(rows)
    assert 3 == page.count('class="phases"')  # two executions, and the course
    assert 'rel="prev" href="2"' in page
    assert 'rel="next"' not in page


def test_changes_lead_to_those_between_the_runs(program: Program, tree: Path) -> None:
    program.call("run", "docs")
    (tree / "new.md").write_text("new\n")
    program.call("run", "docs")
    with reading(str(program.database)) as reader:
        first, second = reader.text("/runs/1"), reader.text("/runs/2")
    assert 'href="../jobs/1/changes?to=1">All 7 changes' in first
    assert 'href="../jobs/1/changes?from=1&amp;to=2">All 1 change ' in second
    assert '<td class="added">added</td><td class="path">new.md</td><td class="num muted">4 B</td>' in second


def test_lateness_is_told_apart_from_the_duration(reader: Reader, database: Database, job: int) -> None:
    started = NOW + timedelta(seconds=30)
    times = {"started_at": started, "finished_at": started + timedelta(seconds=10), "lateness_s": 30.0, "wall_s": 9.5}
    page = reader.text(f"/runs/{record(database, job, **times)}")
    assert facts(page)["started"].endswith("30.0 s late")
    assert "9.50 s" == facts(page)["duration"]
    assert '<rect x="0" width="759.5" height="12" class="waiting"/><rect x="759.5" width="240.5"' in page


def test_a_running_run_shows_the_elapsed_time(reader: Reader, database: Database, job: int) -> None:
    started = datetime.now(UTC) - timedelta(seconds=90)
    page = reader.text(f"/runs/{record(database, job, status='running', started_at=started)}")
    assert facts(page)["elapsed"] in {"1m30s", "1m31s", "1m32s"}
    assert "finished" not in facts(page)


def test_a_missed_run_says_what_happened(reader: Reader, database: Database, job: int) -> None:
    until = NOW + timedelta(hours=4)
    message = "4 fire times passed while no daemon was running"
    number = record(database, job, status="missed", missed=4, finished_at=until, message=message)
    page = reader.text(f"/runs/{number}")
    assert {"message": message, "fire times": "4"}.items() <= facts(page).items()
    assert "first due" in facts(page)
    assert "Nothing ran at these fire times" in page
    assert "Executions" not in page


def test_failures_show_attempts_and_deliveries(reader: Reader, database: Database, job: int) -> None:
    number = record(
        database, job, status="failed", started_at=NOW, finished_at=NOW, attempt=2, message="<b>no root</b>"
    )
    for code, message in ((0, None), (1, "refused"), (None, "not found")):
        sent = Notification(
            event=Event.FAILURE, command=("mail", "a b"), started_at=NOW, wall_s=0.1, exit_code=code, message=message
        )
        record_notification(database, number, sent)
    page = reader.text(f"/runs/{number}")
    assert {"attempt": "2", "message": "&lt;b&gt;no root&lt;/b&gt;"}.items() <= facts(page).items()
    deliveries = re.findall(r'<td>failure</td><td class="\w+">([^<]+)</td>', page)
    assert ["sent", "exit code 1", "not sent"] == deliveries
    assert "mail &#39;a b&#39;" in page


def test_problems_and_differences_are_listed(reader: Reader, database: Database, job: int) -> None:
    number = record(
        database,
        job,
        status="partial",
        started_at=NOW,
        finished_at=NOW,
        files=0,
        directories=1,
        problems=1,
        differences=1,
    )
    with database.write() as connection:
        problem = {"job_id": job, "path": b"a\xff<", "errno": 13, "text": "Permission denied", "first_run_id": number}
        connection.execute(insert(problems).values(problem))
        found = {"run_id": number, "number": 1, "path": b"b\n", "found_by": '["pool"]'}
        connection.execute(insert(differences).values(found))
    page = reader.text(f"/runs/{number}")
    assert '<td class="path">a\\xff&lt;</td><td>Permission denied' in page
    assert '<td class="path">b\\n</td><td>pool</td>' in page


def test_runs_are_paged_by_number(reader: Reader, database: Database) -> None:
    write_history(database, n_runs=250, n_jobs=2, n_files=20)
    page, pages, row = reader.text("/runs?job=1"), 1, 'class="num"><a href="./runs/'
    assert 100 == page.count(row)
    while older := re.search(r'rel="next" href="([^"]+)"', page):
        page, pages = reader.text("/runs" + older[1].replace("&amp;", "&")), pages + 1
        assert 'href="?job=1">Newest' in page
    assert (2, 25) == (pages, page.count(row))


def test_filters_stay_in_the_links(reader: Reader, database: Database, job: int) -> None:
    for _ in range(101):
        record(database, job, status=Status.SKIPPED.value, finished_at=NOW, message="busy")
    page = reader.text("/missed?status=skipped&since=7d")
    assert 'href="?status=skipped&amp;since=7d&amp;before=2">Older' in page
    assert 'href="missed.json?status=skipped&amp;since=7d">JSON' in page
    assert 100 == page.count('<td class="message">busy</td>')
    assert "Nothing matches" in reader.text("/missed?status=missed")


def test_empty_lists_say_what_to_do(reader: Reader) -> None:
    assert "Nothing has run yet" in reader.text("/runs")
    assert "Nothing was missed or skipped" in reader.text("/missed")


def test_wrong_addresses_are_refused(reader: Reader) -> None:
    statuses = [
        reader.get(path).status_code for path in ("/runs/1", "/runs/x", "/runs/9e9", "/runs/99999999999999999999")
    ]
    assert [404, 400, 400, 404] == statuses
