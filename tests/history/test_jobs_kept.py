import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from history_examples import NOW, count_rows, listing, play, snapshot, some_job

from runner.history.contents import list_files
from runner.history.database import Database
from runner.history.jobs import (
    add_job,
    change_job,
    find_job,
    get_job,
    jobs_revision,
    list_jobs,
    list_jobs_at,
    remove_job,
)
from runner.model.errors import UsageError
from runner.model.jobs import Catchup, Job, JobSpec, Schedule, ScheduleKind, Selection, Track

LATER = NOW + timedelta(hours=1)
HOURLY = Schedule(kind=ScheduleKind.EVERY, expression="1h", timezone="Europe/Zurich", interval_origin=NOW)
EVERYTHING = JobSpec(
    name="Ünïcode 'quoted\" 🦊",
    root=b"/srv/\xff\n docs",
    selection=Selection(
        patterns=("*.md", "\udcff*", "a,b"),
        excludes=(".git", "a/**"),
        ignore_case=True,
        track=Track.NAMES,
        one_file_system=True,
    ),
    strategies=("pool", "sequential"),
    workers=3,
    timeout_s=90,
    schedule=replace(HOURLY, jitter_s=5),
    catchup=Catchup.ALL,
    paused=True,
)


MANY = Selection(excludes=tuple(f"{number:x}-\udcff'\n" for number in range(9_999)))


@pytest.mark.parametrize("spec", [EVERYTHING, JobSpec(name="n" * 2_000, root=b"/" * 9_999, selection=MANY)])
def test_a_job_is_returned_as_added(database: Database, spec: JobSpec) -> None:
    job = add_job(database, spec, NOW)
    assert Job(job_id=1, spec=spec, created_at=NOW, schedule_start=NOW) == job
    assert [job] == list_jobs(database)
    assert job == get_job(database, spec.name) == get_job(database, "1")


def test_every_option_can_be_changed(database: Database) -> None:
    job = some_job(database)
    changed = change_job(database, job, EVERYTHING, LATER)
    assert replace(job, spec=EVERYTHING, schedule_start=LATER) == changed
    assert [changed] == list_jobs(database)


def test_instants_are_stored_to_the_microsecond(database: Database) -> None:
    there = datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    job = add_job(database, JobSpec(name="x", root=b"/"), there)
    assert there == get_job(database, "x").created_at == job.created_at
    assert UTC == get_job(database, "x").created_at.tzinfo


def test_equal_selections_are_stored_once(database: Database) -> None:
    for name in ("a", "b", "c"):
        some_job(database, name)
    assert [1] == count_rows(database, "selections")


def test_a_taken_name_is_refused_and_nothing_changes(database: Database) -> None:
    first, second = some_job(database, "first"), some_job(database, "second")
    before = (list_jobs(database), jobs_revision(database), count_rows(database, "selections"))
    spec = replace(EVERYTHING, name="first")
    with pytest.raises(UsageError, match="a job named 'first' exists already; choose another --name"):
        add_job(database, spec, LATER)
    with pytest.raises(UsageError, match="a job named 'first' exists already"):
        change_job(database, second, spec, LATER)
    assert before == (list_jobs(database), jobs_revision(database), count_rows(database, "selections"))
    assert spec == change_job(database, first, spec, LATER).spec


def test_names_differ_by_case(database: Database) -> None:
    assert some_job(database, "Docs") == get_job(database, "Docs")
    assert some_job(database, "docs") == get_job(database, "docs")


def test_a_removed_job_keeps_its_history_and_number(database: Database) -> None:
    old = some_job(database)
    run = play(database, old, snapshot(listing(b"", [b"x.md"])))
    remove_job(database, old, NOW)
    assert [] == list_jobs(database)
    assert find_job(database, "docs") is None
    assert find_job(database, "1") is None
    new = some_job(database)
    assert old.job_id < new.job_id
    assert new == get_job(database, "docs")
    assert replace(old, removed_at=NOW) == get_job(database, "1", removed=True)
    assert [b"x.md"] == [file.path for file in list_files(database, run.job_id, run.run_id)]


def test_a_name_means_the_present_or_last_removed_job(database: Database) -> None:
    first, second = some_job(database, "first"), some_job(database, "docs")
    remove_job(database, second, NOW)
    first = change_job(database, first, replace(first.spec, name="docs"), NOW)
    assert first == get_job(database, "docs", removed=True)
    remove_job(database, first, LATER)
    assert first.job_id == get_job(database, "docs", removed=True).job_id
    third = some_job(database, "docs")
    assert third == get_job(database, "docs", removed=True)


def test_a_job_is_removed_once(database: Database) -> None:
    job = some_job(database)
    remove_job(database, job, NOW)
    remove_job(database, job, LATER)
    assert NOW == get_job(database, "docs", removed=True).removed_at


def test_a_removed_job_cannot_be_changed(database: Database) -> None:
    job = some_job(database)
    remove_job(database, job, NOW)
    before = jobs_revision(database)
    with pytest.raises(UsageError, match="the job 'docs' has been removed"):
        change_job(database, job, EVERYTHING, LATER)
    assert before == jobs_revision(database)
    assert job.spec == get_job(database, "docs", removed=True).spec


def test_every_change_increments_the_revision(database: Database) -> None:
    seen = [jobs_revision(database)]
    job = some_job(database)
    seen.append(jobs_revision(database))
    job = change_job(database, job, replace(job.spec, paused=True), NOW)
    seen.append(jobs_revision(database))
    remove_job(database, job, NOW)
    seen.append(jobs_revision(database))
    play(database, some_job(database), None)
    assert [0, 1, 2, 3] == seen
    assert 4 == jobs_revision(database)


@pytest.mark.parametrize(
    ("before", "after", "rearmed"),
    [
        ({}, {"schedule": HOURLY}, True),
        ({"schedule": HOURLY}, {"schedule": None}, True),
        ({"schedule": HOURLY}, {"schedule": replace(HOURLY, jitter_s=1)}, True),
        ({"schedule": HOURLY}, {"schedule": replace(HOURLY)}, False),
        ({"schedule": HOURLY, "paused": True}, {"paused": False}, True),
        ({"schedule": HOURLY}, {"paused": True}, False),
        ({"schedule": HOURLY}, {"name": "other", "workers": 5, "catchup": Catchup.NONE}, False),
    ],
)
def test_a_schedule_starts_at_its_change_or_resumption(
    database: Database, before: dict[str, object], after: dict[str, object], *, rearmed: bool
) -> None:
    job = add_job(database, replace(JobSpec(name="x", root=b"/"), **before), NOW)  # type: ignore[arg-type]
    changed = change_job(database, job, replace(job.spec, **after), LATER)  # type: ignore[arg-type]
    assert (LATER if rearmed else NOW) == changed.schedule_start == list_jobs(database)[0].schedule_start
    assert NOW == changed.created_at


@pytest.mark.parametrize("text", ["nothing", "0", "2", "-1", "\u0661", "9" * 18, "9" * 30, "", "\udcff", "1\0"])
def test_an_unknown_job_is_reported_in_one_line(database: Database, text: str) -> None:
    some_job(database)
    assert find_job(database, text) is None
    with pytest.raises(UsageError) as caught:
        get_job(database, text)
    assert f"there is no job {text!r}; see `runner jobs`" == str(caught.value)


def test_an_unknown_job_is_compared_with_known_names(database: Database) -> None:
    some_job(database, "notes", b"/srv/a")
    with pytest.raises(UsageError, match=r"there is no job 'ntoes'; did you mean 'notes'\?"):
        get_job(database, "ntoes")


def test_a_directory_names_its_job(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    job = some_job(database, "notes", os.fsencode(tmp_path / "a"))
    for text in ("a", "./a/", str(tmp_path / "b/../a")):
        assert job == get_job(database, text)
    some_job(database, "a", b"/srv")
    assert "a" == get_job(database, "a").spec.name
    some_job(database, "more", job.spec.root)
    with pytest.raises(UsageError, match=r"several jobs scan '\./a': 'notes', 'more'; name one of them"):
        get_job(database, "./a")


def test_jobs_are_found_by_root(database: Database) -> None:
    first, second = some_job(database, "a", b"/x/\xff"), some_job(database, "b", b"/x/\xff")
    removed = some_job(database, "c", b"/x/\xff")
    some_job(database, "d", b"/x")
    remove_job(database, removed, NOW)
    assert [first, second] == list_jobs_at(database, b"/x/\xff")
