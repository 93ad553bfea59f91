import gzip
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from reader import Reader, reading
from sqlalchemy import delete, insert

from runner.history.database import Database, View
from runner.history.jobs import add_job
from runner.history.tables import runs
from runner.model.jobs import Job, JobSpec, Schedule, ScheduleKind
from runner.web import summaries
from tests.benchmarks.histories import write_history

NOW = datetime.now(UTC)


@pytest.fixture
def reader(place: str, database: Database) -> Iterator[Reader]:
    del database  # has made the tables
    with reading(place) as opened:
        yield opened


def add(
    database: Database, name: str, *, schedule: str | None = None, paused: bool = False, tags: tuple[str, ...] = ()
) -> int:
    parsed = schedule and Schedule(
        kind=ScheduleKind.EVERY, expression=schedule, timezone="UTC", interval_origin=NOW - timedelta(days=1)
    )
    return add_job(
        database, JobSpec(name=name, root=b"/srv", schedule=parsed or None, paused=paused, tags=tags), NOW
    ).job_id


def record(
    database: Database, job: int, *statuses: str, message: str | None = None, wall_s: float | None = 1.0
) -> None:
    """Add rows that began one second after the other, up to now."""
    instants = ("scheduled_at", "finished_at", *(() if {"missed", "skipped"} & {*statuses} else ("started_at",)))
    with database.write() as connection:
        for place, status in enumerate(statuses, start=1 - len(statuses)):
            at = NOW + timedelta(seconds=place)
            values = {"job_id": job, "selection_id": 1, "cause": "schedule", "status": status, "message": message}
            connection.execute(insert(runs).values(**values, **dict.fromkeys(instants, at), wall_s=wall_s))


def row_of(page: str, name: str) -> str:
    return next(row for row in page.split("<tr>")[1:] if f">{name}</a>" in row)


def test_no_jobs_yet(reader: Reader) -> None:
    page = reader.text("/")
    assert "No jobs yet" in page
    assert "No daemon has run yet" in page
    assert [] == reader.get("/index.json").json()


def test_a_job_with_three_runs_has_three_bars_of_normal_width(reader: Reader, database: Database) -> None:
    record(database, add(database, "docs"), "succeeded", "failed", "succeeded")
    row = row_of(reader.text("/"), "docs")
    assert ["runs/1", "runs/2", "runs/3"] == re.findall(r'<a href="(runs/\d+)" class="[a-z]+"><title>', row)
    assert 'viewBox="0 0 240 28"' in row
    assert ["230", "234", "238"] == re.findall(r'd="M(\d+) 28v', row)
    assert "<title>failed 1.00 s, " in row
    assert "66.7 % in 30 d" in row


def test_what_did_not_run_is_a_box(reader: Reader, database: Database) -> None:
    job = add(database, "docs", schedule="1h")
    record(database, job, "succeeded")
    record(database, job, "missed", wall_s=None)
    row = row_of(reader.text("/"), "docs")
    assert 1 == len(re.findall(r'class="missed"><title>missed, [^<]+</title><path d="M\d+ 16.5h2v10h-2z"', row))
    assert '<a href="runs/2"><span class="status missed">missed</span></a>' in row


def test_failures_of_today_are_listed_by_job(reader: Reader, database: Database) -> None:
    broken, other = add(database, "broken"), add(database, "other")
    record(database, broken, "failed", "failed", message="no <b>root</b>")
    record(database, other, "succeeded")
    page = reader.text("/")
    failures = page[page.index("Failed today") : page.index("</section>")]
    assert ["runs/2", "runs?job=1&amp;since=1d"] == re.findall('href="([^"]+)"', failures)
    assert "no &lt;b&gt;root&lt;/b&gt;" in failures
    assert "2 failures" in failures
    assert "other" not in failures


def test_jobs_that_have_succeeded_since_come_last(reader: Reader, database: Database) -> None:
    broken, recovered = add(database, "broken"), add(database, "recovered")
    record(database, broken, "failed")
    record(database, recovered, "timed_out", "succeeded")
    page = reader.text("/")
    failures = page[page.index("Failed today") : page.index("</section>")]
    assert ["runs/1", "runs/2"] == re.findall('href="([^"]+)"', failures)
    assert ["recovered"] == re.findall(">([a-z]+)</a>(?:(?!</li>).)*succeeded since", failures, re.DOTALL)


def test_running_runs_are_listed(reader: Reader, database: Database) -> None:
    record(database, add(database, "docs"), "running", wall_s=None)
    page = reader.text("/")
    assert 'id="running"' in page
    assert '1</b> <span class="status running">running' in page


def test_filters_by_name_and_status(reader: Reader, database: Database) -> None:
    for name, status in (("docs", "succeeded"), ("Documents", "failed"), ("mail", "failed")):
        record(database, add(database, name), status)
    add(database, "new", paused=True)

    def names(query: str) -> list[str]:
        listed = [job["name"] for job in reader.get(f"/index.json?{query}").json()]
        assert listed == re.findall(r'<a class="clamp"[^>]*>([^<]+)</a>', reader.text(f"/?{query}"))
        return listed

    assert ["docs", "Documents"] == names("name=doc")
    assert ["Documents", "mail"] == names("status=failed")
    assert ["mail"] == names("status=failed&name=A")
    assert ["new"] == names("status=never") == names("status=paused")
    assert [] == names("name=%3Cscript%3E")
    assert 400 == reader.get("/?status=bad").status_code


def test_filter_by_tag(reader: Reader, database: Database) -> None:
    for name, tags in (("docs", ("team/a", "text")), ("mail", ("text",)), ("wiki", ())):
        add(database, name, tags=tags)
    page = reader.text("/?tag=text")
    assert ["docs", "mail"] == re.findall(r'<a class="clamp"[^>]*>([^<]+)</a>', page)
    assert '<a href="?tag=team%2Fa">team/a</a>' in page
    assert '<option value="text" selected>' in page
    assert [["team/a", "text"]] == [job["tags"] for job in reader.get("/index.json?tag=team/a").json()]


def test_more_than_a_hundred_jobs_are_paged(reader: Reader, database: Database) -> None:
    write_history(database, n_runs=206, n_jobs=103, n_files=0)
    first = reader.text("/")
    assert 50 == first.count('class="clamp"')
    assert 'href="?after=50"' in first
    rest = reader.text("/?after=100")
    assert ["job-0100", "job-0101", "job-0102"] == re.findall(r'<a class="clamp"[^>]*>([^<]+)</a>', rest)
    assert 103 == len(reader.get("/index.json").json())


def test_verdict_of_each_strategy(reader: Reader, database: Database) -> None:
    write_history(database, n_runs=60, n_jobs=2, n_files=20)
    row = row_of(reader.text("/"), "job-0000")
    assert re.search(r'pool \d+ ms <b class="faster" title="ratio 0\.\d+, 95 % interval [^"]+">1\.\d× faster</b>', row)
    assert 'class="line sequential"' in row
    assert "100 % in 30 d" in row


def test_only_jobs_with_a_new_run_are_computed_again(
    reader: Reader, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [add(database, name) for name in ("docs", "mail", "wiki")]
    for job in jobs:
        record(database, job, "succeeded")
    reader.text("/")
    computed = []

    def compute(view: View, shown: Sequence[Job], now: datetime) -> dict[int, summaries.Summary]:
        computed.append([job.spec.name for job in shown])
        return real(view, shown, now)

    real = summaries._compute
    monkeypatch.setattr(summaries, "_compute", compute)
    record(database, jobs[1], "failed")
    assert 'class="failed"' in row_of(reader.text("/"), "mail")
    assert [["mail"]] == computed


def test_deleted_runs_leave_the_strip(reader: Reader, database: Database) -> None:
    job = add(database, "docs")
    for _ in range(3):
        record(database, job, "succeeded")
    bar = re.compile(r'<a href="runs/(\d)" class="succeeded">')
    assert ["1", "2", "3"] == bar.findall(row_of(reader.text("/"), "docs"))
    with database.write() as connection:
        connection.execute(delete(runs).where(runs.c.id == 2))
    add(database, "mail")  # so that the revision changes
    assert ["1", "3"] == bar.findall(row_of(reader.text("/"), "docs"))


def test_names_are_escaped_everywhere(reader: Reader, database: Database) -> None:
    name = "<script>\"x\u202e'"
    record(database, add(database, name), "failed")
    page = reader.text("/")
    assert "<script>" not in page.replace('<script type="module"', "")
    assert "\u202e" not in page
    assert name == reader.get("/index.json").json()[0]["name"]


def test_a_page_of_2000_runs_is_small(reader: Reader, database: Database) -> None:
    write_history(database, n_runs=2_000, n_jobs=20, n_files=2_000)
    page = reader.get("/")
    assert 1_200 == page.text.count('<a href="runs/') - 2 * 20
    links = re.findall(r'(?:href|src)="\./(static/[^"]+)"', page.text)
    others = {link: reader.get(f"/{link}").content for link in links}
    assert len(others) <= 5
    assert sum(len(gzip.compress(content, 6)) for content in (page.content, *others.values())) <= 30_000


def test_a_page_names_its_revision(reader: Reader, database: Database) -> None:
    add(database, "docs")
    before = reader.text("/")
    record(database, 1, "succeeded")
    after = reader.text("/")
    found = [re.search(r'data-revision="(\w+)"', page) for page in (before, after)]
    assert all(found)
    revisions = [match[1] for match in found if match]
    assert revisions[0] != revisions[1] == reader.text("/revision")
