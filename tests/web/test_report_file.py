"""The report: one file, the same for the same state, safe to open."""

import base64
import hashlib
import html
import os
import re
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import Program
from sqlalchemy import insert

from runner.history.database import Database, locate
from runner.history.jobs import add_job, list_jobs
from runner.history.tables import runs
from runner.history.upgrade import open_database
from runner.model.jobs import JobSpec
from runner.web.report import render_report
from tests.benchmarks.histories import write_history

NOW = datetime.now(UTC)
HOSTILE = "</script><script>alert(1)</script>"


@pytest.fixture
def told(database: Database) -> Database:
    """Return a history with a job of hourly runs."""
    write_history(database, n_runs=80, n_jobs=1, n_files=20)
    return database


@pytest.fixture
def program(tmp_path: Path, empty_history: Path) -> Program:
    path = tmp_path / "runner.db"
    path.write_bytes(empty_history.read_bytes())
    with closing(open_database(locate(str(path)))) as history:
        write_history(history, n_runs=80, n_jobs=2, n_files=20)
    return Program(folder=tmp_path, environment={"RUNNER_DB": str(path)})


def render(database: Database, since: datetime | None = None) -> str:
    with database.view() as view:
        return render_report(view, list_jobs(view), NOW, since)


def test_a_report_has_all_parts(told: Database) -> None:
    report = render(told)
    headings = ["Comparison of the strategies", "Changes over time", "Last runs"]
    assert [f"<h2>{heading}</h2>" for heading in headings] == [
        found for found in re.findall(r"<h2>.*?</h2>", report) if "Steps" not in found
    ]
    assert 3 == report.count("<figure ")
    assert 'class="verdict">pool is faster than sequential' in report
    assert "80 runs" not in render(told, NOW - timedelta(hours=10))


def test_the_same_state_gives_the_same_bytes(told: Database) -> None:
    assert render(told) == render(told)


def test_the_policy_allows_this_style_and_script_alone(told: Database) -> None:
    report = render(told)
    policy = html.unescape(re.search(r'Policy" content="(.*?)"', report)[1])  # type: ignore[index]
    for kind, content in (("style", r"<style>(.*?)</style>"), ("script", r"<script>(.*?)</script>")):
        (found,) = re.findall(content, report, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(found.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not re.search(r'\s(?:style|on\w+)="|(?:src|href)="(?!#|data:,)|@import|url\(', report)


def test_names_and_messages_are_escaped(told: Database) -> None:
    number = add_job(told, JobSpec(name=HOSTILE, root=b"/srv/<b>\xff"), NOW).job_id
    given = {
        "id": 1_000,
        "job_id": number,
        "selection_id": 1,
        "cause": "manual",
        "status": "failed",
    }
    with told.write() as connection:
        connection.execute(insert(runs).values(**given, message=HOSTILE, started_at=NOW, finished_at=NOW))
    report = render(told)
    assert HOSTILE not in report
    assert 1 == report.count("</script>") - report.count('<script type="application/json">')
    assert 5 == report.count(html.escape(HOSTILE))
    assert "/srv/&lt;b&gt;\\xff" in report
    assert "What did not run or succeed" in report


def test_a_year_of_hourly_runs_fits(history: Database) -> None:
    write_history(history, n_runs=8_760, n_jobs=1, n_files=20)
    assert len(render(history).encode()) <= 600_000


def test_a_report_needs_no_server(program: Program) -> None:
    code = (
        "import sys; from runner.cli.main import main; sys.argv = ['runner', 'report', '--output', 'report.html']\n"
        "try: main()\nexcept SystemExit: print({'starlette', 'uvicorn', 'jinja2'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, **program.environment}
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=program.folder, env=environment)
    assert "{'jinja2'}\n" == done.stdout


def test_the_file_is_replaced_as_a_whole(program: Program) -> None:
    path = program.folder / "report.html"
    path.write_text("old")
    inode = path.stat().st_ino
    done = program.quick("report", "job-0001", "--since", "30d", "--output", "report.html")
    assert (0, b"", b"wrote report.html\n") == (done.returncode, done.stdout, done.stderr)
    assert inode != path.stat().st_ino
    text = path.read_text()
    assert "<title>job-0001 · runner report</title>" in text
    assert "job-0000" not in text
    assert ["report.html", "runner.db"] == sorted(
        one.name for one in program.folder.iterdir() if not one.name.endswith(("-wal", "-shm"))
    )


def test_stdout_is_a_file_too(program: Program) -> None:
    assert program.out("report").startswith("<!doctype html>")
    contents = program.out("report", "--output", "-")
    assert '<li><a href="#job-1">job-0000</a>' in contents


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "there is no job 'nothing'"),
        (["--output", "."], "is a directory; name a file in it"),
        (["--output", "missing/report.html"], "can't write 'missing/report.html': No such file or directory"),
        (["--since", "yesterdayish"], "yesterdayish"),
        (["--db", "elsewhere.db"], "there is no database at"),
    ],
)
def test_a_mistake_is_explained_in_a_line(program: Program, arguments: list[str], said: str) -> None:
    assert said in program.refused("report", *arguments)


def test_a_new_report_is_private_and_a_present_one_keeps_its_mode(program: Program) -> None:
    path = program.folder / "report.html"
    program.out("report", "--output", "report.html")
    assert 0o600 == path.stat().st_mode & 0o777
    path.chmod(0o644)
    program.out("report", "--output", "report.html")
    assert 0o644 == path.stat().st_mode & 0o777


def test_only_a_regular_file_is_replaced(program: Program) -> None:
    os.mkfifo(program.folder / "pipe")
    (program.folder / "kept").write_text("kept")
    (program.folder / "link").symlink_to("kept")
    for name in ("pipe", "link"):
        assert f"{name!r} is not a regular file; name another" in program.refused("report", "--output", name)
    assert (program.folder / "pipe").is_fifo()
    assert (program.folder / "link").is_symlink()
    assert "kept" == (program.folder / "kept").read_text()


def test_a_missing_library_is_named(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.cli.options.find_spec", lambda _: None)
    assert "needs jinja2, which is missing; install runner with the extra web" in program.refused("report")


def test_no_jobs_make_an_empty_report(database: Database) -> None:
    assert "No jobs yet" in render(database)
