import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from runner.jobs.warnings import find_warnings
from runner.model.jobs import Catchup, Event, JobSpec, Notify, Schedule, ScheduleKind, Selection

NOW = datetime(2026, 11, 22, tzinfo=UTC)
DAY_S = 86_400
BY_HAND = JobSpec(name="docs", root=b"/srv/docs")


def every(expression: str, jitter_s: int = 0) -> Schedule:
    return Schedule(
        kind=ScheduleKind.EVERY, expression=expression, timezone="UTC", interval_origin=NOW, jitter_s=jitter_s
    )


def cron(expression: str) -> Schedule:
    return Schedule(kind=ScheduleKind.CRON, expression=expression, timezone="Europe/Berlin", interval_origin=NOW)


def looking_for(*, patterns: tuple[str, ...] = ("*.md",), excludes: tuple[str, ...] = ()) -> JobSpec:
    return replace(BY_HAND, selection=Selection(patterns=patterns, excludes=excludes))


HOURLY = replace(BY_HAND, schedule=every("1h"))


def test_ordinary_jobs_leave_no_doubt() -> None:
    for spec in (
        BY_HAND,
        HOURLY,
        replace(HOURLY, schedule=replace(every("1h"), timezone="GMT+0")),
        replace(HOURLY, retries=3, retry_delay_s=300, catchup=Catchup.ALL, paused=True, workers=2),
        replace(HOURLY, strategies=("incremental",), full_every_s=3601),
        replace(
            looking_for(excludes=("/build", "./docs", "docs/", "build/*.md", "docs/**/old/", "*/", r"\!x", "a/!b")),
            root=b"/srv/docs",
        ),
        replace(looking_for(excludes=("/srv/docs",)), root=b"/"),
        looking_for(patterns=("*.md", "*"), excludes=("*.md", r"a\]", "[]]", "[!]]", "?", "**/*.txt")),
        looking_for(patterns=("*.md",), excludes=("/*.md", "*.m", "*.MD", ".*", "[a-z]*.md")),
        looking_for(patterns=("a, b.md", "* x.md", "{x}.md")),
        looking_for(patterns=("Makefile", "README.md", "TODO"), excludes=("md",)),
        replace(HOURLY, notify=(Notify(Event.FAILURE, ("true", "<b>", "a; b", "5 $", "a|b", "R&D")),)),
        replace(
            HOURLY, notify=(Notify(Event.FAILURE, ("sh", "-c", "true > $HOME/x")), Notify(Event.CHANGE, ("/bin/sh",)))
        ),
    ):
        assert [] == find_warnings(spec), spec


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (replace(HOURLY, schedule=replace(every("1h"), timezone="UTC+03")), "'UTC+03' is west of Greenwich"),
        (replace(HOURLY, schedule=replace(every("1h"), timezone="GMT-1")), "'GMT-1' is east of Greenwich"),
        (replace(HOURLY, retry_delay_s=300), "retry delay has no effect without retries"),
        (replace(BY_HAND, retries=3), "retries have no effect on a job without a schedule"),
        (replace(BY_HAND, catchup=Catchup.NONE), "catchup has no effect on a job without a schedule"),
        (replace(BY_HAND, paused=True), "paused has no effect on a job without a schedule"),
        (replace(HOURLY, strategies=("sequential",), workers=2), "without the strategy pool"),
        (replace(HOURLY, full_every_s=3600), "reading everything every 1h has no effect"),
        (replace(HOURLY, strategies=("incremental",), full_every_s=3600), "which is due every 1h"),
        (replace(BY_HAND, strategies=("incremental",), schedule=every("1d")), "which is due every 1d"),
        (replace(HOURLY, notify=(Notify(Event.SLOW, ("no-such-program",)),)), "program 'no-such-program'"),
        (replace(HOURLY, notify=(Notify(Event.SLOW, ("/no/such\n",)),)), r"program '/no/such\n'"),
        (
            looking_for(excludes=("/srv/docs/build",)),
            "'/srv/docs/build' is taken for a path below the root; write '/build'",
        ),
        (looking_for(excludes=("!docs",)), "the exclude '!docs' matches only names that begin with !"),
        (looking_for(patterns=("!a.md", "b")), "the pattern '!a.md' matches only names that begin with !"),
        (looking_for(excludes=("..",)), "names nothing below the root"),
        (looking_for(excludes=("../docs",)), "names nothing below the root"),
        (looking_for(excludes=("/a/../../b/",)), "names nothing below the root"),
        (looking_for(excludes=("docs/../docs",)), "'.' or '..' in it; write '/docs'"),
        (looking_for(excludes=("a/./b",)), "write 'a/b'"),
        (looking_for(excludes=("a//b",)), "write 'a/b'"),
        (looking_for(excludes=("//docs",)), "write '/docs'"),
        (looking_for(excludes=("docs//",)), "write '/docs'"),
        (looking_for(excludes=(r"a/.\./b",)), "write '/b'"),
        (looking_for(excludes=("~/docs",)), "relative to the root"),
        (looking_for(excludes=("a[/]b",)), "a bracket matches no slash"),
        (looking_for(excludes=("x/[z-a]",)), "a range in it is reversed"),
        (looking_for(patterns=("[z-a].md",)), "a range in it is reversed"),
        (looking_for(patterns=("..",)), "no entry has that name"),
        (looking_for(patterns=("x" * 256,)), "no name is longer"),
        (looking_for(patterns=(" ",)), "only names of spaces"),
        (looking_for(excludes=("build ",)), "write 'build'"),
        (looking_for(excludes=("/srv",)), "the root or a directory above it"),
        (looking_for(excludes=("/srv/docs/",)), "the root or a directory above it"),
        (looking_for(excludes=("/srv/other",)), "where it hardly exists"),
        (looking_for(excludes=("/home/me/x",)), "where it hardly exists"),
        (looking_for(excludes=("/mnt",)), "not '/mnt', which is not below the root"),
        (looking_for(excludes=("/var/",)), "not '/var', which is not below the root"),
        *(
            (looking_for(excludes=(x,)), f"{x!r} leaves nothing")
            for x in ("*", "**", "?*", "/*", "**/*", "*.md", "*.*")
        ),
        (looking_for(excludes=("[!.]*", ".*")), "the excludes leave nothing"),
        (looking_for(patterns=("a.txt", "b.txt"), excludes=("*.txt",)), "leaves nothing"),
        (looking_for(patterns=("[a",)), "has a bracket that is not closed"),
        (looking_for(patterns=("a]",)), "has a bracket that is not closed or not opened"),
        (looking_for(patterns=("[!]",)), "has a bracket that is not closed"),
        (looking_for(excludes=("build/[a",)), "has a bracket that is not closed"),
        (looking_for(patterns=("*.md, *.txt",)), "'*.md, *.txt' is one pattern"),
        (looking_for(patterns=("*.md", "*.txt *.rst")), "'*.txt *.rst' is one pattern"),
        (looking_for(patterns=("*.{md,txt}",)), "'*.{md,txt}' is one pattern"),
        (
            looking_for(patterns=(".md", "Makefile")),
            "the pattern '.md' matches only files of exactly this name; did you",
        ),
        (looking_for(patterns=("txt",)), "did you mean '*.txt'?"),
        *(
            (
                replace(HOURLY, notify=(Notify(Event.SLOW, ("true", *words)),)),
                f"without a shell, which {words[-1]!r} needs",
            )
            for words in (
                ("|",),
                ("a", "&&"),
                (">>log",),
                ("2>&1",),
                ("a $HOME/b",),
                ("`date`",),
                ("x;",),
                ("$(date)",),
            )
        ),
        (looking_for(excludes=(".git", "*.bak,*~")), "'*.bak,*~' is one pattern"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_comes_to_nothing_is_told_in_a_line(spec: JobSpec, said: str) -> None:
    (warning,) = find_warnings(spec)
    assert said in warning
    assert warning.isprintable()


@pytest.mark.parametrize(
    ("schedule", "delay_s", "in_vain"),
    [
        (every("1m"), 300, True),
        (every("1m"), 60, True),
        (every("1m"), 59, False),
        (every("1m", jitter_s=30), 60, False),
        (every("1m", jitter_s=30), 90, True),
        (cron("* * * * *"), 60, True),
        (cron("0 0 29 2 *"), 3000 * DAY_S, True),
        (cron("@yearly"), 400 * DAY_S, True),
        (cron("@monthly"), 31 * DAY_S, False),  # in October clocks are put back
        (cron("* * 1-30 * *"), 60, False),
        (replace(cron("* * * * *"), timezone="Atlantis/Center"), 60, False),  # nothing is known of it here
        (cron("*/5 9-17 * * mon-fri"), 600, False),  # after the last one of the day there is time enough
        (
            Schedule(kind=ScheduleKind.AT, expression="2099-01-01T00:00:00Z", timezone="UTC", interval_origin=NOW),
            9999,
            False,
        ),
    ],
)
def test_retries_that_the_next_firing_always_forestalls_are_told(
    schedule: Schedule, delay_s: int, *, in_vain: bool
) -> None:
    warnings = find_warnings(replace(BY_HAND, schedule=schedule, retries=3, retry_delay_s=delay_s))
    assert in_vain is bool(warnings)
    assert all("retries can never start: the job fires before" in warning for warning in warnings)


def test_only_what_is_chosen_anew_is_doubted() -> None:
    before = replace(HOURLY, retries=3, retry_delay_s=300, notify=(Notify(Event.SLOW, ("no-such-program",)),))
    assert [] == find_warnings(replace(before, retries=0), before)
    assert [] == find_warnings(replace(before, name="book"), before)
    assert [] == find_warnings(replace(HOURLY, catchup=Catchup.ONCE), replace(HOURLY, catchup=Catchup.ALL))
    often = replace(before, schedule=every("1m"))
    assert 1 == len(find_warnings(replace(often, retry_delay_s=60), replace(often, retry_delay_s=10)))
    alone = replace(HOURLY, strategies=("sequential",))
    assert [] == find_warnings(alone, replace(alone, workers=2))
    assert 1 == len(find_warnings(replace(before, schedule=every("1m")), before))
    assert 1 == len(find_warnings(replace(before, schedule=None), before))


def test_a_program_is_found_as_a_daemon_would_find_it(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(HOURLY, notify=(Notify(Event.CHANGE, ("sh",)),))
    assert [] == find_warnings(spec)
    monkeypatch.setitem(os.environ, "PATH", "/nowhere")
    assert 1 == len(find_warnings(spec))


@pytest.mark.parametrize("exclude", ["\\/x", "a\\/b"])
def test_an_escaped_slash_in_an_exclude_is_a_slash(exclude: str) -> None:
    spec = replace(BY_HAND, selection=replace(BY_HAND.selection, excludes=(exclude,)))
    assert [] == find_warnings(spec)
