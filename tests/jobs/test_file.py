import os
import re
import tomllib
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.jobs.file import JobsFile, load_jobs, read_jobs, write_jobs
from runner.jobs.options import OPTIONS
from runner.model.errors import UsageError
from runner.model.jobs import Catchup, Event, JobSpec, Notify, Schedule, ScheduleKind, Selection, Track

NOW = datetime(2026, 11, 22, 10, 2, 3, 456789, tzinfo=UTC)
HOURLY = Schedule(kind=ScheduleKind.EVERY, expression="1h", timezone="Europe/Zurich", interval_origin=NOW, jitter_s=300)
EVERYTHING = JobSpec(
    name="ünï 'quoted\" 🦊",
    root=b"/srv/\xff\n docs",
    selection=Selection(
        patterns=("*.md", "\udcff*"), excludes=(".git",), ignore_case=True, track=Track.NAMES, one_file_system=True
    ),
    strategies=("pool",),
    workers=3,
    timeout_s=5400,
    full_every_s=43200,
    retries=2,
    tags=("docs", "team/a"),
    retry_delay_s=90,
    notify=(Notify(Event.FAILURE, ("mail", "-s", "it \udcff failed", "me")), Notify(Event.SLOW, ("true",))),
    schedule=HOURLY,
    catchup=Catchup.ALL,
    paused=True,
)
WRITTEN = r"""
[jobs.again]
root = "/srv/docs"
cron = "30 2 * * mon-fri"
timezone = "UTC"

[jobs.by-hand]
root = "/srv/docs"

[jobs.once]
root = "/srv/docs"
at = 2099-01-01T00:00:00Z
timezone = "UTC"

[jobs."ünï 'quoted\" 🦊"]
root = {base64 = "L3Nydi//CiBkb2Nz"}  # /srv/\xff\u000a docs
every = "1h"
anchor = 2026-11-22T10:02:03.456789Z
timezone = "Europe/Zurich"
jitter = "5m"
catchup = "all"
paused = true
patterns = ["*.md", {base64 = "/yo="}]
excludes = [".git"]
ignore_case = true
track = "names"
one_file_system = true
strategies = ["pool"]
workers = 3
timeout = "1h30m"
full_every = "12h"
retries = 2
retry_delay = "1m30s"
notify = [
    {on = "failure", run = ["mail", "-s", {base64 = "aXQg/yBmYWlsZWQ="}, "me"]},
    {on = "slow", run = ["true"]},
]
tags = ["docs", "team/a"]
"""


def reading(text: str) -> JobsFile:
    return read_jobs("jobs.toml", text.encode(), b"/srv", NOW)


def some() -> list[JobSpec]:
    cron = Schedule(kind=ScheduleKind.CRON, expression="30 2 * * mon-fri", timezone="UTC", interval_origin=NOW)
    at = Schedule(kind=ScheduleKind.AT, expression="2099-01-01T00:00:00Z", timezone="UTC", interval_origin=NOW)
    plain = JobSpec(name="by-hand", root=b"/srv/docs")
    return [EVERYTHING, plain, replace(plain, name="again", schedule=cron), replace(plain, name="once", schedule=at)]


def test_an_export_has_no_defaults_and_is_sorted_by_name() -> None:
    comment, _, written = write_jobs(some()).partition("\n\n")
    assert WRITTEN == "\n" + written
    assert all(line.startswith("# ") for line in comment.splitlines())
    assert write_jobs(some()) == write_jobs(reversed(some()))


def test_an_export_is_read_again() -> None:
    by_name = {wanted.spec.name: wanted for wanted in reading(write_jobs(some())).jobs}
    assert {spec.name: spec for spec in some()} == {name: wanted.spec for name, wanted in by_name.items()}
    assert [EVERYTHING.name] == [name for name, wanted in by_name.items() if wanted.anchored]


def test_an_export_of_no_jobs_has_an_empty_table() -> None:
    assert {"jobs": {}} == tomllib.loads(write_jobs([]))
    assert reading(write_jobs([])).has_table
    assert not reading("# nothing\n").has_table


def test_every_field_of_a_job_is_an_option() -> None:
    chosen = {field.name for field in fields(JobSpec)} - {"name", "root", "schedule", "selection"}
    selected = {f"selection.{field.name}" for field in fields(Selection)}
    assert chosen | selected == {option.field for option in OPTIONS}


def test_an_absent_key_means_its_default() -> None:
    (wanted,) = reading('[jobs.docs]\nroot = "docs"\n').jobs
    assert JobSpec(name="docs", root=b"/srv/docs") == wanted.spec


def test_other_spellings_make_the_same_job() -> None:
    expected = reading('[jobs.docs]\nroot = "docs"\nevery = "90m"\ntimezone = "UTC"\nworkers = "auto"').jobs
    same = 'jobs.docs = {root = "docs/", every = "1h30m", timezone = "UTC", jitter = "none", timeout = "none"}'
    assert expected == reading(same).jobs


@pytest.mark.parametrize(
    "at", ["2099-01-01T00:00:00Z", '"2099-01-01T01:00+01:00"', "2099-01-01", "2099-01-01 00:00:00", '"2099-01-01"']
)
def test_an_instant_may_be_written_with_and_without_quotes(at: str) -> None:
    (wanted,) = reading(f'[jobs.docs]\nroot = "docs"\ntimezone = "UTC"\nat = {at}').jobs
    assert wanted.spec.schedule is not None
    assert "2099-01-01T00:00:00Z" == wanted.spec.schedule.expression


def test_a_root_is_relative_to_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "below" / "jobs.toml"
    file.parent.mkdir()
    roots = ["docs", "../docs", ".", "/srv/docs", "~/notes"]
    file.write_text("".join(f"[jobs.j{n}]\nroot = '{root}'\n" for n, root in enumerate(roots)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    found = [wanted.spec.root for wanted in load_jobs("below/jobs.toml", NOW).jobs]
    here = os.fsencode(tmp_path)
    assert [here + b"/below/docs", here + b"/docs", here + b"/below", b"/srv/docs", b"/home/me/notes"] == found


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.toml' can't be read: No such file or directory; check its path"):
        load_jobs(str(tmp_path / "gone.toml"), NOW)
    with pytest.raises(UsageError, match="Is a directory"):
        load_jobs(str(tmp_path), NOW)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("every = '1x'", r"jobs\.docs\.every: '1x' is not a duration"),
        ("every = 60", r"jobs\.docs\.every must be a duration such as '1h30m', not 60"),
        ("cron = '61 * * * *'", r"jobs\.docs\.cron: '61' is not a minute"),
        ("cron = ['*']", r"jobs\.docs\.cron must be five cron fields in quotes"),
        ("at = 'someday'", r"jobs\.docs\.at must be an instant, not 'someday'"),
        ("at = 'tomorrow'", r"jobs\.docs\.at must be an instant, not 'tomorrow'"),
        ("at = 2026", r"jobs\.docs\.at must be an instant, not 2026"),
        ("at = 2500-01-01", r"jobs\.docs\.at: '2500-01-01' lies more than a century ahead"),
        ("timezone = 'UTC'", r"jobs\.docs\.timezone: timezone has no effect without every, cron or at"),
        ("anchor = 2026-01-01T00:00:00Z", r"jobs\.docs\.anchor: anchor has no effect without every"),
        ("root = 'again'", r"this is not TOML: Cannot overwrite a value \(at line 3"),
        ("timout = '1m'", r"jobs\.docs: unknown key 'timout'; did you mean 'timeout'\?"),
        ("colour = 'red'", r"jobs\.docs: unknown key 'colour'; the keys are root, every, cron, at, "),
        ("[jobs.docs.inner]", r"jobs\.docs: unknown key 'inner'"),
        ("timeout = 30", r"jobs\.docs\.timeout must be a duration such as '1h30m' or 'none', not 30"),
        ("full_every = 'none'", r"jobs\.docs\.full_every: 'none' is not a duration"),
        ("workers = 0", r"jobs\.docs\.workers: 0 workers are not possible; choose from 1 to "),
        ("workers = -1", r"jobs\.docs\.workers must be a whole number from 0 on or 'auto', not -1"),
        ("workers = 1979-05-27T07:32:00Z", r"jobs\.docs\.workers must be .*, not 1979-05-27T07:32:00Z$"),
        ("workers = 07:32:00", r"jobs\.docs\.workers must be .*, not 07:32:00$"),
        (f"patterns = [0x{'f' * 5000}]", r"jobs\.docs\.patterns must be .*, not \[a huge number\]$"),
        ("patterns = [true, {'a b' = [1.5]}]", r'jobs\.docs\.patterns must be .*, not \[true, {"a b" = \[1.5\]}\]$'),
        ("paused = 1", r"jobs\.docs\.paused must be true or false, not 1"),
        ("catchup = 'twice'", r"jobs\.docs\.catchup must be one of 'once', 'none', 'all', not 'twice'"),
        ("patterns = '*.md'", r"jobs\.docs\.patterns must be a list of texts such as \['\*\.md'\], not '\*\.md'"),
        ("patterns = ['a/b']", r"jobs\.docs\.patterns: the pattern 'a/b' holds a slash"),
        ("patterns = [1]", r"jobs\.docs\.patterns must be a list of texts"),
        ("excludes = ['']", r"jobs\.docs\.excludes: the exclude '' names nothing"),
        ("strategies = ['quantum']", r"jobs\.docs\.strategies: there is no strategy 'quantum'; choose from "),
        ("retry_delay = 5", r"jobs\.docs\.retry_delay must be a duration"),
        (
            "notify = ['mail']",
            r"jobs\.docs\.notify must be a list of {on = EVENT, run = \[PROGRAM, …\]}, the events being failure",
        ),
        ("notify = [{on = 'dawn', run = ['true']}]", r"jobs\.docs\.notify must be a list of"),
        ("notify = [{on = 'slow', run = ['true'], when = 1}]", r"jobs\.docs\.notify must be a list of"),
    ],
)
def test_an_invalid_value_is_refused_with_its_key_path(line: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=rf"^jobs\.toml: {complaint}") as caught:
        reading(f"[jobs.docs]\nroot = 'docs'\n{line}\n\n[jobs.later]\nroot = '/'\n")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("jobs = 1", "jobs are tables; write [jobs.NAME]"),
        ("[[jobs]]\nname = 'docs'", "jobs are tables; write [jobs.NAME]"),
        ("[jobs]\ndocs = '/srv'", "jobs.docs: a job is a table; write [jobs.NAME]"),
        ("[job.docs]\nroot = '/'", "unknown key 'job'; did you mean 'jobs'?"),
        ("root = '/'", "unknown key 'root'; the keys are jobs"),
        ("[jobs.a]\nroot='/'\n[jobs.a]\nroot='/'", "this is not TOML: Cannot declare ('jobs', 'a') twice (at line 3"),
        ("[jobs.7]\nroot='/'", "jobs.7: the name '7' would be taken for a job's number"),
        ('[jobs."a/b"]\nroot="/"', "jobs.\"a/b\": the name 'a/b' would be taken for a path"),
        ('[jobs.".."]\nroot="/"', "jobs.\"..\": the name '..' would be taken for a path"),
        ('[jobs.""]\nroot="/"', 'jobs."": a job\'s name is empty'),
        ("[jobs.' a']\nroot='.'", 'jobs." a": a job\'s name is empty or has spaces around it; choose another name'),
        ("[jobs.a]\nroot='/'\n[jobs.b]\nevery='1h'", "jobs.b: the key root is missing; add it"),
        ("[jobs.a]\nroot=''", "jobs.a.root must be the path of a directory, . for the file's own, not ''"),
        ('[jobs.a]\nroot="a\\u0000b"', "jobs.a.root must be the path of a directory"),
        ("[jobs.a]\nroot=1", "jobs.a.root must be the path of a directory, . for the file's own, not 1"),
        (
            "[jobs.a]\nroot={base64='?'}",
            "jobs.a.root must be the path of a directory, . for the file's own, not {base64 = '?'}",
        ),
        ("[jobs.a]\nroot='/'\ncron='@hourly'\nevery='1h'", "jobs.a: cron and every exclude each other; keep one"),
        ("[jobs.a]\nroot='/'\nevery='1h'\ntimezone='Mars/Olympus'", "jobs.a.timezone: there is no time zone"),
        ("[jobs.a]\nroot='/'\njitter='2h'\nevery='1h'", "jobs.a.jitter: a jitter of 2h could swap fire times"),
        *(
            (f"[jobs.a]\nroot='/'\nevery='1h'\nanchor={anchor}", "jobs.a.anchor must be an instant from 1970")
            for anchor in ("'today'", "2026-01-01T00:00:00", "2999-01-01T00:00:00Z")
        ),
        ("[jobs.a]\nroot='/'\ncron='@hourly'\nanchor=2026-01-01T00:00:00Z", "jobs.a.anchor: anchor has no effect"),
    ],
)
def test_an_invalid_job_is_refused_with_its_key_path(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape('jobs.toml: ' + complaint)}") as caught:
        reading(text)
    assert str(caught.value).isprintable()
