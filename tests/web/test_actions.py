import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urljoin

import httpx
import psutil
import pytest
from browsing import served
from conftest import until
from history_examples import NOW, begin, some_job

from runner.history.database import Database
from runner.history.jobs import add_job, get_job
from runner.history.recording import is_cancel_requested
from runner.history.runs import get_run, list_runs
from runner.measure.environment import describe_process
from runner.model.jobs import JobSpec, Schedule, ScheduleKind
from runner.model.runs import Status
from runner.web import actions
from runner.web.site import Options


@pytest.fixture
def client(place: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setenv("RUNNER_DB", place)
    monkeypatch.setattr(actions, "_STARTS_WITHIN_S", 60.0)  # on a busy machine
    with served(place, Options(allow_actions=True)) as client:
        yield client


@pytest.fixture
def ended() -> Callable[[], bool]:
    """Return a function that tells whether all processes that a test has started are gone, zombies as well."""
    before = set(psutil.Process().children())
    return lambda: set(psutil.Process().children()) <= before


def post(client: httpx.Client, path: str) -> str:
    """Send a form without fields; return the path to which the answer leads, by a relative address."""
    answer = client.post(path)
    location = answer.headers["location"]
    assert (303, False) == (answer.status_code, location.startswith(("/", "http"))), answer.text
    return urljoin(path, location)


def refused(client: httpx.Client, path: str, status: int) -> str:
    answer = client.post(path)
    assert status == answer.status_code, answer.text
    return answer.text


def test_run_starts_in_a_process_of_its_own(
    client: httpx.Client, database: Database, tree: Path, ended: Callable[[], bool]
) -> None:
    job = some_job(database, root=bytes(tree))
    address = post(client, f"/jobs/{job.job_id}/run")
    assert "/runs/1" == address
    assert "Run 1 of" in client.get(address).text
    until(lambda: get_run(database, 1).status is Status.SUCCEEDED, "the end of the run")
    until(ended, "the end of its process, which leaves no zombie")
    assert "/runs/2" == post(client, f"/jobs/{job.spec.name}/run")
    until(ended, "the end of its process")


def test_failed_run_is_shown(client: httpx.Client, database: Database, ended: Callable[[], bool]) -> None:
    some_job(database, root=b"/nowhere/at/all")
    address = post(client, "/jobs/1/run")
    until(lambda: list_runs(database)[0].status is Status.FAILED, "the end of the run")
    assert "failed" in client.get(address).text
    until(ended, "the end of its process")


def test_running_job_is_not_run_twice(client: httpx.Client, database: Database) -> None:
    begin(database, some_job(database), describe_process())
    assert "/jobs/1/run" not in client.get("/jobs/1").text
    assert "is running already" in refused(client, "/jobs/1/run", 409)
    assert 1 == len(list_runs(database))


def test_running_run_can_be_cancelled(client: httpx.Client, database: Database) -> None:
    run = begin(database, some_job(database), describe_process())
    assert "Cancel</button>" in client.get("/runs/1").text
    assert "/runs/1" == post(client, "/runs/1/cancel")
    assert is_cancel_requested(database, run)
    assert "/runs/1" == post(client, "/runs/1/cancel")


def test_run_of_a_dead_process_is_interrupted_instead(client: httpx.Client, database: Database) -> None:
    begin(database, some_job(database), replace(describe_process(), started_s=1.0))
    assert "is not running" in refused(client, "/runs/1/cancel", 400)
    assert Status.INTERRUPTED is get_run(database, 1).status


def test_job_is_paused_and_resumed(client: httpx.Client, database: Database) -> None:
    schedule = Schedule(kind=ScheduleKind.EVERY, expression="1h", timezone="UTC", interval_origin=NOW)
    job = add_job(database, JobSpec(name="docs", root=b"/srv", schedule=schedule), NOW)
    for action, paused in [("resume", False), ("pause", True), ("pause", True), ("resume", False)]:
        assert "/jobs/1" == post(client, f"/jobs/1/{action}")
        assert paused is get_job(database, job.spec.name).spec.paused
        buttons = re.findall(r'action="../jobs/1/(\w+)"><button>', client.get("/jobs/1").text)
        assert ["run", "resume" if paused else "pause"] == buttons


def test_what_is_not_there_is_not_found(client: httpx.Client, database: Database) -> None:
    assert [] == list_runs(database)
    for path in ("/jobs/7/run", "/jobs/docs/pause", "/jobs/7/resume", "/runs/7/cancel", "/runs/x/cancel"):
        assert 404 == client.post(path).status_code, path
    assert 405 == client.get("/jobs/7/run").status_code


def test_buttons_are_hidden_unless_allowed(place: str, database: Database) -> None:
    begin(database, some_job(database), describe_process())
    with served(place) as client:
        assert "<button>" not in client.get("/runs/1").text + client.get("/jobs/1").text
