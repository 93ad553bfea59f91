import os
import re
import tomllib
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.jobs.file import JobsFile, load_jobs, read_jobs, write_jobs
from runner.jobs.options import FIELDS
from runner.model.errors import UsageError
from runner.model.jobs import (
    Catchup,
    Event,
    JobSpec,
    Notify,
    Schedule,
    ScheduleKind,
    Selection,
    Track,
)

NOW = datetime(2026, 11, 22, 10, 2, 3, 456789, tzinfo=UTC)
HOURLY = Schedule(kind=ScheduleKind.EVERY, expression="1h", timezone="Europe/Zurich", anchor_at=NOW, jitter_s=300)
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
"""


def reading(text: str) -> JobsFile:
    return read_jobs("jobs.toml", text.encode(), b"/srv", NOW)


def some() -> list[JobSpec]:
    cron = Schedule(kind=ScheduleKind.CRON, expression="30 2 * * mon-fri", timezone="UTC", anchor_at=NOW)
    at = Schedule(kind=ScheduleKind.AT, expression="2099-01-01T00:00:00Z", timezone="UTC", anchor_at=NOW)
    plain = JobSpec(name="by-hand", root=b"/srv/docs")
    return [EVERYTHING, plain, replace(plain, name="again", schedule=cron), replace(plain, name="once", schedule=at)]


def test_a_file_says_what_is_not_default_in_the_order_of_names() -> None:
    comment, _, written = write_jobs(some()).partition("\n\n")
    assert WRITTEN == "\n" + written
    assert all(line.startswith("# ") for line in comment.splitlines())
    assert write_jobs(some()) == write_jobs(reversed(some()))


def test_what_is_written_is_read_again() -> None:
    by_name = {wanted.spec.name: wanted for wanted in reading(write_jobs(some())).jobs}
    assert {spec.name: spec for spec in some()} == {name: wanted.spec for name, wanted in by_name.items()}
    assert [EVERYTHING.name] == [name for name, wanted in by_name.items() if wanted.anchored]


def test_no_jobs_are_written_so_that_it_is_seen_that_there_are_none() -> None:
    assert {"jobs": {}} == tomllib.loads(write_jobs([]))
    assert reading(write_jobs([])).is_about_jobs
    assert not reading("# nothing\n").is_about_jobs


def test_a_file_can_say_everything_about_a_job() -> None:
    """Who adds a field to a job adds a line to the keys of the file, too."""
    choices = {field.choice for field in FIELDS}
    chosen = {field.name for field in fields(JobSpec)} - {"name", "root", "schedule", "selection"}
    selected = {f"selection.{field.name}" for field in fields(Selection)}
    assert chosen | selected == choices


def test_what_is_left_out_is_default() -> None:
    (wanted,) = reading('[jobs.docs]\nroot = "docs"\n').jobs
    assert JobSpec(name="docs", root=b"/srv/docs") == wanted.spec


def test_jobs_may_be_written_in_other_ways_that_mean_the_same() -> None:
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
        ("every = '1x'", "'1x' is not a duration"),
        ("every = '0s'", "the duration '0s' is zero"),
        ("every = 60", "every must be a duration such as '1h30m', not 60"),
        ("cron = '61 * * * *'", "'61' is not a minute"),
        ("cron = ['*']", "cron must be five cron fields in quotes"),
        ("at = 'someday'", "'someday' is not an instant"),
        ("at = 2026", "at must be an instant, not 2026"),
        ("at = 2500-01-01", "'2500-01-01' lies more than a century ahead"),
        ("timezone = 'UTC'", "timezone means nothing without every, cron or at"),
        ("jitter = '1m'", "jitter means nothing without every, cron or at"),
        ("anchor = 2026-01-01T00:00:00Z", "anchor means nothing without every"),
        ("root = 'again'", "this is not TOML: the key 'root' has a value already"),
        ("timout = '1m'", "unknown key 'timout'; did you mean 'timeout'\\?"),
        ("pattern = ['*']", "unknown key 'pattern'; did you mean 'patterns'\\?"),
        ("ignore-case = true", "unknown key 'ignore-case'; did you mean 'ignore_case'\\?"),
        ("colour = 'red'", "unknown key 'colour'; the keys are root, every, cron, at, "),
        ("[jobs.docs.inner]", "unknown key 'inner'"),
        ("timeout = 'soon'", "'soon' is not a duration"),
        ("timeout = 30", "timeout must be a duration such as '1h30m' or 'none', not 30"),
        ("full_every = 'none'", "'none' is not a duration"),
        ("workers = 0", "0 workers can't be used; choose from 1 to "),
        ("workers = -1", "workers must be a whole number from 0 on or 'auto', not -1"),
        ("workers = true", "workers must be a whole number from 0 on or 'auto', not true"),
        ("workers = 1979-05-27", "workers must be .*, not 1979-05-27$"),
        ("workers = 1979-05-27T07:32:00Z", "workers must be .*, not 1979-05-27T07:32:00Z$"),
        ("workers = 07:32:00", "workers must be .*, not 07:32:00$"),
        (f"patterns = [0x{'f' * 5000}]", "patterns must be .*, not \\[a huge number\\]$"),
        ("patterns = [true, {'a b' = [1.5]}]", 'patterns must be .*, not \\[true, {"a b" = \\[1.5\\]}\\]$'),
        ("workers = 0x" + "f" * 5000, "workers must be a whole number from 0 on or 'auto', not a huge number"),
        ("paused = 1", "paused must be true or false, not 1"),
        ("paused = 'yes'", "paused must be true or false, not 'yes'"),
        ("catchup = 'twice'", "catchup must be one of 'once', 'none', 'all', not 'twice'"),
        ("catchup = ['once']", "catchup must be one of 'once', 'none', 'all', not \\['once'\\]"),
        ("track = 1", "track must be one of 'names', 'stat', not 1"),
        ("patterns = '*.md'", "patterns must be a list of texts such as \\['\\*\\.md'\\], not '\\*\\.md'"),
        ("patterns = []", "there is no pattern"),
        ("patterns = ['a/b']", "the pattern 'a/b' holds a slash"),
        ("patterns = [1]", "patterns must be a list of texts"),
        ("excludes = ['']", "the exclude '' names nothing"),
        ("strategies = ['quantum']", "there is no strategy 'quantum'; choose from sequential, "),
        ("strategies = []", "there is no strategy; choose from"),
        ("strategies = ['pool', 'pool']", "a strategy is named twice"),
        ("retries = -1", "retries must be a whole number from 0 on, not -1"),
        ("retry_delay = 5", "retry_delay must be a duration"),
        (
            "notify = ['mail']",
            "notify must be a list of {on = EVENT, run = \\[PROGRAM, …\\]}, the events being failure",
        ),
        ("notify = [{on = 'failure', run = []}]", "notify must be a list of"),
        ("notify = [{on = 'dawn', run = ['true']}]", "notify must be a list of"),
        ("notify = [{on = 'slow', run = ['true'], when = 1}]", "notify must be a list of"),
    ],
)
def test_whatever_is_wrong_is_told_by_its_line(line: str, complaint: str) -> None:
    for more in ("", "\n\n[jobs.later]\nroot = '/'\n"):
        with pytest.raises(UsageError, match=rf"^jobs\.toml:5: {complaint}") as caught:
            reading(f"# mine\n[jobs.docs]\nroot = 'docs'\n# here\n{line}{more}")
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("jobs = 1", "jobs.toml:1: jobs are tables; write [jobs.NAME]"),
        ("\n[[jobs]]\nname = 'docs'", "jobs.toml:2: jobs are tables; write [jobs.NAME]"),
        ("[jobs]\ndocs = '/srv'", "jobs.toml:2: 'docs' is not a job; write [jobs.NAME]"),
        ("\n\n[job.docs]\nroot = '/'", "jobs.toml:3: unknown key 'job'; did you mean 'jobs'?"),
        ("root = '/'", "jobs.toml:1: unknown key 'root'; the keys are jobs"),
        ("[jobs.a]\nroot='/'\n[jobs.a]\nroot='/'", "jobs.toml:3: this is not TOML: [jobs.a] stands there twice"),
        ("\n[jobs.7]\nroot='/'", "jobs.toml:2: the name '7' would be taken for a job's number"),
        ('[jobs."a/b"]\nroot="/"', "jobs.toml:1: the name 'a/b' would be taken for a path"),
        ('[jobs.".."]\nroot="/"', "jobs.toml:1: the name '..' would be taken for a path"),
        ('[jobs.""]\nroot="/"', "jobs.toml:1: a job's name is empty"),
        ("[jobs.a]\nroot='/'\n\n[jobs.b]\nevery='1h'", "jobs.toml:4: the key root is missing; add it"),
        ("[jobs.a]\nroot=''", "jobs.toml:2: root must be the path of a folder, . for the file's own, not ''"),
        ('[jobs.a]\nroot="a\\u0000b"', "jobs.toml:2: root must be the path of a folder"),
        ("[jobs.a]\nroot=1", "jobs.toml:2: root must be the path of a folder, not 1"),
        ("[jobs.a]\nroot={base64='?'}", "jobs.toml:2: root must be the path of a folder, not {base64 = '?'}"),
        ("[jobs.' a']\nroot='.'", "jobs.toml:1: a job's name is empty or has spaces around it; choose another name"),
        (
            "[jobs.a]\nroot='/'\ncron='@hourly'\nevery='1h'",
            "jobs.toml:4: cron and every exclude each other; keep one of them",
        ),
        ("[jobs.a]\nroot='/'\nevery='1h'\ntimezone='Mars/Olympus'", "jobs.toml:4: there is no time zone"),
        ("[jobs.a]\nroot='/'\njitter='2h'\nevery='1h'", "jobs.toml:3: a jitter of 2h could swap fire times"),
        ("[jobs.a]\nroot='/'\nevery='1h'\nanchor='today'", "jobs.toml:4: anchor must be an instant from 1970"),
        ("[jobs.a]\nroot='/'\nevery='1h'\nanchor=2026-01-01T00:00:00", "jobs.toml:4: anchor must be an instant"),
        ("[jobs.a]\nroot='/'\nevery='1h'\nanchor=2999-01-01T00:00:00Z", "jobs.toml:4: anchor must be an instant"),
        ("[jobs.a]\nroot='/'\ncron='@hourly'\nanchor=2026-01-01T00:00:00Z", "jobs.toml:4: anchor means nothing"),
    ],
)
def test_whatever_is_no_job_is_told_by_its_line(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(complaint)}") as caught:
        reading(text)
    assert str(caught.value).isprintable()
