import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import MakePlace
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.history import jobs as kept
from runner.history.database import Database, locate
from runner.history.jobs import JobChanges, add_job, change_job, get_job, jobs_revision, list_jobs, remove_job
from runner.history.jobs import update_jobs as update
from runner.history.upgrade import open_database
from runner.jobs.apply import Action, Outcome, apply_jobs
from runner.jobs.caches import cache_file
from runner.jobs.file import read_jobs, write_jobs
from runner.jobs.validation import check_spec
from runner.model.errors import UsageError
from runner.model.jobs import Catchup, Event, Job, JobSpec, Notify, Schedule, ScheduleKind, Selection, Track
from runner.model.units import format_duration, format_instant

NOW = datetime(2026, 11, 22, 10, 2, 3, 456789, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
PLAIN = JobSpec(name="docs", root=b"/")
HOURLY = Schedule(kind=ScheduleKind.EVERY, expression="1h", timezone="UTC", interval_origin=NOW)


@pytest.fixture
def other(make_place: MakePlace) -> Iterator[Database]:
    """Yield a second empty history of the same kind."""
    with make_place() as place:
        database = open_database(locate(str(place)))
        yield database
        database.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a directory with directories of odd names."""
    base = os.fsencode(tmp_path_factory.mktemp("roots"))
    for name in (b"docs", b"caf\xe9", b"\x1b]0;x\x07\n", "ünï 🦊".encode(), b"'\"\\ # ="):
        os.mkdir(base + b"/" + name)  # noqa: PTH102  bytes
    return base


def apply(
    database: Database, text: str, folder: bytes = b"/", *, prune: bool = False, dry_run: bool = False,
    now: datetime = LATER,
) -> list[Outcome]:  # fmt: skip
    file = read_jobs("jobs.toml", text.encode(), folder, now)
    return apply_jobs(database, file, prune=prune, dry_run=dry_run, now=now)


def export(database: Database) -> str:
    return write_jobs(job.spec for job in list_jobs(database))


def actions(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.name: outcome.action.value for outcome in outcomes}


def is_accepted(spec: JobSpec) -> bool:
    try:
        check_spec(spec)
    except UsageError:
        return False
    return True


anything = st.binary(min_size=1, max_size=12).map(os.fsdecode)
patterns = anything.filter(lambda text: is_accepted(replace(PLAIN, selection=Selection(patterns=(text,)))))
excludes = anything.filter(lambda text: is_accepted(replace(PLAIN, selection=Selection(excludes=(text,)))))
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(
    lambda text: is_accepted(replace(PLAIN, name=text))
)
instants = st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
durations = st.integers(1, 10**8)
cron_lines = st.sampled_from(["*/5 * * * *", "30 2 * * mon-fri", "@daily"])


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    kind, seconds = draw(st.sampled_from(ScheduleKind)), draw(durations)
    texts = {ScheduleKind.EVERY: st.just(format_duration(seconds)), ScheduleKind.CRON: cron_lines}
    return Schedule(
        kind=kind,
        expression=draw(texts.get(kind, instants.map(format_instant))),
        timezone=draw(st.sampled_from(["UTC", "Europe/Zurich", "America/Sao_Paulo"])),
        interval_origin=draw(instants) if kind is ScheduleKind.EVERY else NOW,
        jitter_s=draw(st.integers(0, seconds - 1 if kind is ScheduleKind.EVERY else 250)),
    )


selections = st.builds(
    Selection,
    patterns=st.lists(patterns, min_size=1, max_size=3).map(tuple),
    excludes=st.lists(excludes, max_size=3).map(tuple),
    ignore_case=st.booleans(), track=st.sampled_from(Track), one_file_system=st.booleans(),
)  # fmt: skip
commands = st.lists(anything, min_size=1, max_size=3).map(tuple)


def specs(folder: bytes) -> st.SearchStrategy[JobSpec]:
    return st.builds(
        JobSpec,
        name=names, root=st.sampled_from(sorted(folder + b"/" + name for name in os.listdir(folder))),
        selection=selections,
        strategies=st.lists(st.sampled_from(["sequential", "pool"]), min_size=1, unique=True).map(tuple),
        workers=st.none() | st.integers(1, 64), timeout_s=st.none() | durations, full_every_s=durations,
        retries=st.integers(0, 9), retry_delay_s=durations,
        tags=st.lists(st.from_regex(r"[\w.+@:/-]{1,40}", fullmatch=True), max_size=3, unique=True).map(tuple),
        notify=st.lists(st.builds(Notify, st.sampled_from(Event), commands), max_size=2).map(tuple),
        schedule=st.none() | schedules(), catchup=st.sampled_from(Catchup), paused=st.booleans(),
    )  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_export_and_apply_undo_each_other(
    database: Database, other: Database, folder: bytes, data: st.DataObject
) -> None:
    drawn = data.draw(st.lists(specs(folder), max_size=4, unique_by=lambda spec: spec.name))
    update(database, lambda jobs: JobChanges(removed=jobs, added=drawn), NOW)
    before, revision, text = list_jobs(database), jobs_revision(database), export(database)
    assert {Action.UNCHANGED} >= {outcome.action for outcome in apply(database, text, prune=True)}
    assert (before, revision) == (list_jobs(database), jobs_revision(database))
    first = apply(other, text, prune=True)
    assert text == export(other)
    assert len(drawn) == sum(outcome.action is not Action.REMOVED for outcome in first)
    revision = jobs_revision(other)
    assert {Action.UNCHANGED} >= {outcome.action for outcome in apply(other, text, prune=True)}
    assert revision == jobs_revision(other)
    for spec in drawn:
        if spec.schedule is not None and spec.schedule.kind is ScheduleKind.EVERY:  # whose phase travels
            assert spec == get_job(other, spec.name).spec


BOTH = '[jobs.docs]\nroot = "docs"\nevery = "1h"\ntimezone = "UTC"\n[jobs.new]\nroot = "docs"\nworkers = 3\n'


def test_jobs_are_added_changed_and_left_alone(database: Database, folder: bytes) -> None:
    root = folder + b"/docs"
    docs = add_job(database, JobSpec(name="docs", root=root, schedule=HOURLY, timeout_s=90), NOW)
    mine = add_job(database, JobSpec(name="mine", root=root), NOW)
    revision = jobs_revision(database)
    assert ["docs changed 1", "new added 3", "mine left 2"] == [
        f"{outcome.name} {outcome.action} {outcome.job_id}" for outcome in apply(database, BOTH, folder)
    ]
    assert revision + 1 == jobs_revision(database)
    new = JobSpec(name="new", root=root, workers=3)
    assert [
        replace(docs, spec=replace(docs.spec, timeout_s=None)),
        mine,
        Job(job_id=3, spec=new, created_at=LATER, schedule_start=LATER),
    ] == list_jobs(database)
    assert {"docs": "unchanged", "new": "unchanged", "mine": "left"} == actions(apply(database, BOTH, folder))
    assert revision + 1 == jobs_revision(database)


def test_a_dry_run_tells_the_same_and_changes_nothing(database: Database, folder: bytes) -> None:
    add_job(database, JobSpec(name="docs", root=folder + b"/docs", schedule=HOURLY, timeout_s=90), NOW)
    add_job(database, JobSpec(name="mine", root=folder + b"/docs"), NOW)
    before = list_jobs(database), jobs_revision(database)
    told = apply(database, BOTH, folder, prune=True, dry_run=True)
    assert before == (list_jobs(database), jobs_revision(database))
    done = apply(database, BOTH, folder, prune=True)
    assert told == [replace(outcome, job_id=None) if outcome.name == "new" else outcome for outcome in done]
    assert before[1] + 1 == jobs_revision(database)


def test_what_is_pruned_is_removed_with_what_its_scans_remember(database: Database, folder: bytes) -> None:
    job = add_job(database, JobSpec(name="mine", root=folder), NOW)
    cache = cache_file(database, job)
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.touch()
    apply(database, BOTH, folder, prune=True, dry_run=True)
    assert cache.exists()
    assert {"docs": "added", "new": "added", "mine": "removed"} == actions(apply(database, BOTH, folder, prune=True))
    assert {"docs", "new"} == {one.spec.name for one in list_jobs(database)}
    assert LATER == get_job(database, "mine", removed=True).removed_at
    assert not cache.exists()


def test_a_job_that_is_renamed_is_another_one(database: Database, folder: bytes) -> None:
    apply(database, BOTH, folder)
    outcomes = apply(database, BOTH.replace("jobs.docs", "jobs.book"), folder, prune=True)
    assert {"book": "added", "new": "unchanged", "docs": "removed"} == actions(outcomes)


def test_a_file_that_says_nothing_prunes_nothing(database: Database, folder: bytes) -> None:
    apply(database, BOTH, folder)
    for text in ("", "# nothing\n"):
        assert {"docs": "left", "new": "left"} == actions(apply(database, text))
        with pytest.raises(UsageError, match=r"^jobs\.toml: it names no job, and --prune would remove them all"):
            apply(database, text, prune=True)
    assert {"docs": "removed", "new": "removed"} == actions(apply(database, "[jobs]", prune=True))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", NOW),
        ('jitter = "5m"', NOW),
        ('timezone = "Europe/Zurich"', NOW),
        ('every = "2h"', LATER),
        ('every = "60m"', NOW),
        ("anchor = 2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
        ('every = "2h"\nanchor = 2026-01-01T00:00:00Z', datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_an_interval_keeps_its_phase_unless_another_is_asked_for(
    database: Database, folder: bytes, line: str, expected: datetime
) -> None:
    add_job(database, JobSpec(name="docs", root=folder, schedule=HOURLY), NOW)
    lines = {"every": 'every = "1h"', "timezone": 'timezone = "UTC"'}
    lines |= {one.partition(" ")[0]: one for one in line.splitlines()}
    (outcome,) = apply(database, "\n".join(["[jobs.docs]", 'root = "."', *lines.values()]), folder)
    job = get_job(database, "docs")
    assert job.spec.schedule is not None
    assert expected == job.spec.schedule.interval_origin
    # A schedule that stays what it is goes on counting.
    assert (NOW if job.spec.schedule == HOURLY else LATER) == job.schedule_start
    told = {part.key for part in outcome.changes}
    assert ("anchor = " in line) == ("anchor" in told)


def test_an_instant_that_is_past_is_no_error_and_told_once(database: Database, folder: bytes) -> None:
    text = '[jobs.docs]\nroot = "."\nat = 2026-01-01T00:00:00Z\n'
    ahead = text.replace("2026-01", "2099-01")
    for applied, action, never in (
        (text, Action.ADDED, True), (text, Action.UNCHANGED, False), (ahead, Action.CHANGED, False)
    ):  # fmt: skip
        assert [(action, never)] == [(one.action, one.never_fires) for one in apply(database, applied, folder)]


def test_a_root_that_cannot_be_scanned_is_refused_where_it_is_new(database: Database, tmp_path: Path) -> None:
    base = os.fsencode(tmp_path)
    for name in ("docs", "more"):
        (tmp_path / name).mkdir()
    text = '[jobs.docs]\nroot = "docs"\n\n[jobs.more]\nroot = "more"\n'
    (tmp_path / "more").rmdir()
    for dry_run in (True, False):
        with pytest.raises(UsageError, match=r"^jobs\.toml: jobs\.\S+\.root: the root '.*more' does not exist"):
            apply(database, text, base, dry_run=dry_run)
    assert ([], 0) == (list_jobs(database), jobs_revision(database))
    (tmp_path / "more").mkdir()
    apply(database, text, base)
    # What is not mounted today was right yesterday.
    (tmp_path / "more").rmdir()
    assert {"docs": "unchanged", "more": "changed"} == actions(apply(database, text + "workers = 2\n", base))
    with pytest.raises(UsageError, match=r"^jobs\.toml: jobs\.\S+\.root: the root '.*gone' does not exist"):
        apply(database, text.replace('"docs"', '"gone"'), base)


def test_all_is_done_or_nothing(database: Database, folder: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = add_job(database, JobSpec(name="mine", root=folder), NOW)
    docs = add_job(database, JobSpec(name="docs", root=folder), NOW)
    revision = jobs_revision(database)

    def fails(*_: object) -> Job:
        raise UsageError("the last thing that is done")

    monkeypatch.setattr(kept, "_add", fails)
    with pytest.raises(UsageError, match="the last thing"):
        apply(database, BOTH, folder, prune=True)
    assert ([mine, docs], revision) == (list_jobs(database), jobs_revision(database))


def test_who_edits_a_job_meanwhile_waits_and_nothing_is_lost(database: Database, folder: bytes) -> None:
    docs = add_job(database, JobSpec(name="docs", root=folder), NOW)
    edited = replace(docs.spec, workers=7)
    begun = threading.Event()

    def edit() -> None:
        begun.set()
        change_job(database, docs, edited, LATER)

    editor = threading.Thread(target=edit)

    def decide(jobs: list[Job]) -> JobChanges:
        editor.start()
        assert begun.wait(20)
        editor.join(0.2)  # however long it is given
        assert editor.is_alive()
        return JobChanges(changed=[(jobs[0], replace(jobs[0].spec, retries=3))], added=[replace(docs.spec, name="new")])

    update(database, decide, LATER)
    editor.join(20)
    assert [edited, replace(docs.spec, name="new")] == [job.spec for job in list_jobs(database)]
    assert 3 == jobs_revision(database)


def test_the_jobs_are_read_where_they_are_written(
    database: Database, folder: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever somebody did between the reading of the file and the transaction is seen."""
    docs = add_job(database, JobSpec(name="docs", root=folder + b"/docs", schedule=HOURLY), NOW)
    add_job(database, JobSpec(name="new", root=folder + b"/docs", workers=3), NOW)
    real = kept.update_jobs

    def interrupted(*arguments: object) -> list[Job]:
        remove_job(database, docs, LATER)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("runner.jobs.apply.update_jobs", interrupted)
    assert {"docs": "added", "new": "unchanged"} == actions(apply(database, BOTH, folder))
    assert 3 == get_job(database, "docs").job_id


def test_a_revision_of_nothing_is_none(database: Database) -> None:
    assert [] == update(database, lambda _: JobChanges(), NOW)
    assert 0 == jobs_revision(database)
