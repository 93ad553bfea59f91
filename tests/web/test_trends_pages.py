"""The pages of a job and of its trends, beside the answers of the command line."""

import html
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Program
from reader import Reader, reading
from sqlalchemy import delete, insert, update

from runner.history.database import Database
from runner.history.jobs import add_job, get_job, remove_job
from runner.history.tables import acknowledgements, executions, runs
from runner.model.jobs import JobSpec, Schedule, ScheduleKind
from runner.model.runs import Status
from runner.model.timings import Counts, Timing
from runner.trends.job_trends import Trends, compute_trends
from runner.trends.report import Metric
from runner.web import calendar
from tests.benchmarks.histories import write_history

NOW = datetime.now(UTC)
_FIGURE = re.compile(r'<script type="application/json">(.*?)</script>', re.DOTALL)


@pytest.fixture
def reader(place: str, database: Database) -> Iterator[Reader]:
    write_history(database, n_runs=60, n_jobs=1, n_files=20)
    with reading(place) as opened:
        yield opened


@pytest.fixture
def command(place: str, tmp_path: Path) -> Program:
    return Program(folder=tmp_path, environment={"RUNNER_DB": place})


def figures(page: str) -> list[Any]:
    """Return what the script of each plot reads."""
    return [json.loads(found) for found in _FIGURE.findall(page)]


@pytest.mark.parametrize("metric", Metric)
def test_trends_answer_as_the_command_does(reader: Reader, command: Program, metric: Metric) -> None:
    since = (NOW - timedelta(hours=40)).isoformat().replace("+00:00", "Z")
    answer = reader.get(f"/jobs/1/trends.json?metric={metric}&since={since}").json()
    assert command.json("trends", "1", "--metric", metric, "--since", since) == answer
    assert 40 == answer["runs"]


def test_the_verdict_and_the_plots_are_shown(reader: Reader, command: Program) -> None:
    page = html.unescape(reader.text("/jobs/1/trends"))
    first = command.out("trends", "1").splitlines()[0]
    assert f'<p class="verdict">{first}</p>' in page
    wall, ratio, files = figures(page)
    assert ["sequential", "pool"] == [line["name"] for line in wall["series"]]
    assert all(60 == len(line["value"]) for shown in (wall, ratio, files) for line in shown["series"])
    assert 'aria-current="true">by time' in page
    assert "style=" not in page


def test_a_point_of_a_plot_is_found_again(reader: Reader, command: Program) -> None:
    shown = figures(reader.text("/jobs/1/trends"))[0]["series"]
    series = [one for one in command.json("trends", "1")["series"] if one["strategy"] == "pool"]
    line = next(line for line in shown if line["name"] == "pool")
    assert [one["run"] for one in series] == [sum(line["run"][: place + 1]) for place in range(60)]
    assert [one["value"] for one in series] == pytest.approx(line["value"], rel=1e-3)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("metric=speed", "there is no metric 'speed'"),
        ("x=time%20", "there is no x"),
        ("since=tomorrow-ish", "tomorrow-ish"),
        ("since=2d&until=3d", "exchange them"),
    ],
)
def test_a_wrong_query_is_explained(reader: Reader, query: str, said: str) -> None:
    answer = reader.get(f"/jobs/1/trends?{query}")
    assert 400 == answer.status_code
    assert said in html.unescape(answer.text)


def test_the_same_runs_are_analysed_once(reader: Reader, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    analysed = []

    def analyse(found: Sequence[Timing], counts: Sequence[Counts], metric: Metric) -> Trends:
        analysed.append(metric)
        return compute_trends(found, counts, metric)

    monkeypatch.setattr("runner.web.trends.compute_trends", analyse)
    for query in ("", "?x=runs", "?metric=wall_s", "?metric=cpu_s"):
        reader.text(f"/jobs/1/trends{query}")
    assert [Metric.WALL, Metric.CPU] == analysed
    with database.write() as connection:
        connection.execute(delete(executions).where(executions.c.run_id == 5))
        connection.execute(delete(runs).where(runs.c.id == 5))
    assert 59 == len(figures(reader.text("/jobs/1/trends?x=time"))[2]["series"][0]["value"])


def test_uneven_runs_are_shown_in_their_order(reader: Reader, database: Database) -> None:
    with database.write() as connection:
        start = NOW - timedelta(days=90)
        for run in range(1, 60):
            connection.execute(update(runs).where(runs.c.id == run).values(started_at=start + timedelta(seconds=run)))
    assert 'aria-current="true">run by run' in reader.text("/jobs/1/trends")
    assert 'aria-current="true">by time' in reader.text("/jobs/1/trends?x=time")


def test_an_acknowledged_baseline_is_marked(reader: Reader, database: Database) -> None:
    given = {"job_id": 1, "environment_id": 1, "strategy": "pool", "metric": "wall_s", "run_id": 30}
    with database.write() as connection:
        connection.execute(insert(acknowledgements).values(**given, acknowledged_at=NOW))
    page = reader.text("/jobs/1/trends")
    assert "pool: the level after run 30 was acknowledged as the new baseline" in page
    assert 'class="flag baseline pool"' in page


def test_a_step_has_a_flag_and_a_sentence(reader: Reader, database: Database) -> None:
    slower = executions.update().where(executions.c.run_id > 30)
    with database.write() as connection:
        connection.execute(slower.values(wall_s=executions.c.wall_s * 1.5))
    page = reader.text("/jobs/1/trends")
    assert len(re.findall(r'<path d="M-5 9L0 0L5 9Z" class="flag (?:pool|sequential)"><title>', page)) == 2
    assert len(re.findall(r"\+\d\d% since run 3\d .*: each entry takes longer</span>", page)) == 2


def test_a_job_without_runs_has_no_trends(reader: Reader, database: Database) -> None:
    number = add_job(database, JobSpec(name="new", root=b"/srv"), NOW).job_id
    assert "No timings yet" in reader.text(f"/jobs/{number}/trends")
    assert "No runs yet" in reader.text(f"/jobs/{number}")
    assert "No timings in this time range" in html.unescape(reader.text("/jobs/1/trends?until=2001-01-01"))


def test_a_job_is_its_record(reader: Reader, command: Program) -> None:
    (record,) = command.json("jobs")
    assert record == reader.get("/jobs/1.json").json()
    page = reader.text("/jobs/1")
    assert 5 == len(re.findall(r"<li><span>\w\w\w \d{4}-", page))
    assert 20 == len(set(re.findall(r'href="\.\./runs/\d+"', page)))


def test_a_name_leads_to_the_page(reader: Reader) -> None:
    assert "../jobs/1" == reader.get("/jobs/job-0000").headers["location"]


def test_a_removed_job_keeps_its_page(reader: Reader, database: Database) -> None:
    remove_job(database, get_job(database, "1"), NOW)
    assert "Removed <time" in reader.text("/jobs/1")


def test_a_time_zone_unknown_here_is_explained(reader: Reader, database: Database) -> None:
    schedule = Schedule(kind=ScheduleKind.CRON, expression="0 2 * * *", timezone="Mars/Olympus", interval_origin=NOW)
    number = add_job(database, JobSpec(name="far", root=b"/srv", schedule=schedule), NOW).job_id
    assert "Mars/Olympus" in reader.text(f"/jobs/{number}")
    assert reader.get(f"/jobs/{number}.json").json()["next_at"] is None


def test_one_failure_does_not_colour_a_day(database: Database) -> None:
    write_history(database, n_runs=72, n_jobs=1, n_files=5)
    with database.write() as connection:
        connection.execute(update(runs).where(runs.c.id == 40).values(status="failed"))
    with database.view() as view:
        days = calendar.count_days(view, 1, NOW)
    assert 72 == sum(counts.total() for counts in days.values())
    (failed,) = (day for day, counts in days.items() if counts[Status.FAILED])
    drawn = calendar.draw_calendar(days, NOW, "../runs?job=1")
    parts = re.search(rf'data-day="{failed}"><title>(.*?)</title>(.*?)</g>', drawn)
    assert parts is not None
    assert parts[1].endswith(" succeeded, 1 failed")
    assert ["good", "bad"] == re.findall(r'class="([a-z]+)"', parts[2])
    assert re.search(r'class="bad" d="M\d+ \d+h17v3h-17z"', parts[2])


def test_the_months_of_a_calendar_are_links() -> None:
    drawn = calendar.draw_calendar({}, datetime(2026, 11, 29, 12, tzinfo=UTC), "../runs?job=1")
    assert '<a href="../runs?job=1&amp;since=2026-11-01&amp;until=2026-12-01">' in drawn
    assert 12 == drawn.count("<a href=")
    assert 364 <= drawn.count('class="day"') <= 371
