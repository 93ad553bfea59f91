import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from render_examples import (
    ACTIVE,
    ENVIRONMENT,
    FAILED,
    JOB,
    MISSED,
    NASTY_NAMES,
    NOTIFICATION,
    NOW,
    POOL,
    RUN,
    SEQUENTIAL,
    drawn,
    run_of,
)
from rich.cells import cell_len
from rich.console import RenderableType

from runner.model.runs import Cache, Change, ChangeKind, Difference, FoundFile, Problem, Run, Status
from runner.output.cells import relative
from runner.output.contents import changes_table, files_table
from runner.output.grid import key_values
from runner.output.show import run_view
from runner.output.tables import jobs_table, next_table, runs_table, sparkline
from runner.output.text import printable
from runner.schedules.fire_times import FireTime


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


COLD = replace(SEQUENTIAL, cache=Cache.COLD, wall_s=1.23)
INCREMENTAL = replace(SEQUENTIAL, strategy="incremental", position=3, wall_s=0.0123)
LONG = replace(
    run_of(123_456, job="a job with a rather long name", files=1_000_000, added=100_000, removed=20_000, modified=3),
    executions=(POOL, COLD, INCREMENTAL),
)
MIXED = [
    run_of(13, status=Status.RUNNING, executions=(), files=None, added=None, removed=None, modified=None),
    RUN,
    MISSED,
    FAILED,
    LONG,
]


def files_of(names: Iterable[bytes]) -> list[FoundFile]:
    return [FoundFile(path=name, size_bytes=2048, mtime_ns=10**18, first_run=3) for name in names]


def every_table(name: bytes) -> list[RenderableType]:
    """Put one name wherever a table can hold a name or a message."""
    text = name.decode("utf-8", "surrogateescape")
    failed = replace(POOL, status=Status.FAILED, message=text)
    run = replace(RUN, job=text, root=name, message=text, executions=(failed, SEQUENTIAL))
    environment = replace(ENVIRONMENT, host=text, filesystem=text)
    job = replace(
        JOB, spec=replace(JOB.spec, name=text, root=name, selection=replace(JOB.spec.selection, patterns=(text,)))
    )
    change = Change(kind=ChangeKind.ADDED, path=name)
    return [
        runs_table([run], now=NOW),
        jobs_table([(job, NOW, run)], now=NOW),
        next_table([FireTime(at=NOW, local=NOW, note=text)], now=NOW, jobs=[text]),
        *files_table(files_of([name])),
        *changes_table([change]),
        run_view(
            replace(run, environment=environment),
            now=NOW,
            changes=[change],
            problems=[Problem(path=name, errno=5, text=text)],
            differences=[Difference(path=name, found_by=(text,))],
        ),
        key_values([(text, text)]),
    ]


@settings(deadline=None)
@given(st.sampled_from(NASTY_NAMES) | st.binary(max_size=60) | st.text(max_size=200).map(str.encode))
def test_no_name_gets_at_the_terminal_or_beyond_its_width(name: bytes) -> None:
    for width in (30, 80, 200):
        shown = drawn(*every_table(name), width=width)
        assert ACTIVE.isdisjoint(shown)
        assert width >= max(map(cell_len, shown.split("\n")))


@pytest.mark.parametrize("name", NASTY_NAMES)
def test_every_name_is_shown_and_none_is_read_as_markup(name: bytes) -> None:
    shown = printable(name)
    assert shown in drawn(*files_table(files_of([name])), width=1000)
    assert shown in drawn(runs_table([replace(RUN, root=name)], now=NOW), width=1000)
    for table in every_table(name) if shown == name.decode(errors="replace") else ():
        assert shown in drawn(table, width=1000)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("runs", [[], [RUN], [MISSED], MIXED, [LONG] * 3, [RUN, MISSED, FAILED]])
def test_the_history_fits_any_width(runs: list[Run], width: int) -> None:
    lines = drawn(runs_table(runs, now=NOW), width=width).splitlines()
    assert width >= max(map(cell_len, lines))


def test_the_history_at_80_columns_keeps_what_matters() -> None:
    lines = drawn(runs_table([RUN, MISSED, FAILED], now=NOW)).splitlines()
    assert lines == [
        "run  job   status      started            seq    pool  ratio  files  changes",
        " 12  docs  succeeded   11-22 10:00:00  471 ms  270 ms  0.57×  2,987  +1 −1 ~1",
        " 11  docs  missed ×12  11-21 20:02:00       –       –      –      –  –",
        " 10  docs  failed      11-21 10:02:00       –       –      –      –  –",
        "run 11  no daemon ran from 2026-11-21T20:02:00Z to 2026-11-22T08:02:00Z",
        "run 10  the folder /srv/docs does not exist; create it or change the job with",
        "        'runner edit docs'",
    ]


OWN_NAME = "nightly-documentation-europe-west"


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_number_loses_its_unit_in_a_narrow_table(width: int) -> None:
    runs = [replace(run, job=OWN_NAME) for run in MIXED] + [replace(LONG, job="other")]
    job = replace(JOB, spec=replace(JOB.spec, name=OWN_NAME))
    fires = [FireTime(at=NOW, local=NOW, note="02:30 comes twice that day: first")]
    heavy = [replace(one, max_rss_bytes=10**9) for one in LONG.executions]
    shown = drawn(
        runs_table(runs, now=NOW),
        jobs_table([(job, NOW, LONG)], now=NOW),
        next_table(fires, now=NOW, jobs=[OWN_NAME]),
        run_view(replace(LONG, executions=tuple(heavy)), now=NOW),
        width=width,
    )
    assert width >= max(map(cell_len, shown.splitlines()))
    # Only names of jobs may be cut.
    assert [] == [word for word in re.findall(r"\S*…", shown) if not OWN_NAME.startswith(word[:-1])]
    assert 3 == shown.count("953.7 MiB")


def test_a_narrow_history_of_several_jobs_names_them_before_it_shows_what_changed() -> None:
    for width in (40, 60, 80):
        shown = drawn(runs_table([*MIXED, replace(LONG, job="other")], now=NOW), width=width)
        assert ["run", "job", "status"] == shown.split()[:3]
        assert "other" in shown
        assert "seq" in shown or width < 80


def test_a_wide_history_shows_everything() -> None:
    shown = drawn(runs_table(MIXED, now=NOW), width=300)
    titles = "run job root cause status started sequential pool incremental ratio files dirs changes problems message"
    assert shown.splitlines()[0].split() == titles.split()
    for text in ("/srv/docs", "2026-11-22 10:00:00", "1 min ago", "missed ×12", "'runner edit docs'", "1,000,000"):
        assert text in shown


def test_a_ratio_against_a_cold_cache_is_marked_and_explained() -> None:
    shown = drawn(runs_table([replace(RUN, executions=(POOL, COLD))], now=NOW), width=200)
    assert "1.23 s*" in shown
    assert "0.22×*" in shown
    assert "* cold cache" in shown
    assert "*" not in drawn(runs_table([RUN], now=NOW), width=200)


def test_an_empty_history_says_so() -> None:
    assert drawn(runs_table([], now=NOW)) == "no runs\n"
    assert drawn(jobs_table([], now=NOW)) == "no jobs\n"
    assert drawn(next_table([], now=NOW)) == "no fire times\n"
    assert list(files_table([])) == list(changes_table([])) == []


def test_times_are_shown_on_the_clock_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    assert "2026-11-22 15:30:00" in drawn(runs_table([RUN], now=NOW), width=200)
    assert "2026-11-22 15:30:00+05:30 (1 min ago)" in drawn(run_view(RUN, now=NOW))


def test_jobs_show_their_schedule_and_how_they_went() -> None:
    by_hand = replace(JOB, job_id=2, spec=replace(JOB.spec, name="notes", schedule=None))
    paused = replace(JOB, job_id=3, spec=replace(JOB.spec, name="old", paused=True))
    rows = [(JOB, NOW + timedelta(minutes=58), RUN), (by_hand, None, None), (paused, NOW, MISSED)]
    first, second, third = drawn(jobs_table(rows, now=NOW), width=200).splitlines()[1:]
    assert " ".join(first.split()) == (
        "1 docs every 1h, jitter 30s 2026-11-22 11:00:00 in 58 min succeeded 1 min ago"
        " sequential pool *.md *.rst /srv/docs"
    )
    assert ("by hand" in second, "never" in second, "paused" in third, "missed ×12" in third) == (True,) * 4
    narrow = drawn(jobs_table([*rows, (replace(JOB, spec=replace(JOB.spec, name=OWN_NAME)), NOW, RUN)], now=NOW))
    assert max(map(len, narrow.splitlines())) <= 80
    assert ("…" in narrow, "jitter" in narrow, "30s" in narrow) == (False, True, True)


def test_tags_have_a_column_if_a_job_has_one() -> None:
    tagged = replace(JOB, job_id=2, spec=replace(JOB.spec, tags=("text", "team/a")))
    assert "tags" not in drawn(jobs_table([(JOB, None, None)], now=NOW), width=200)
    header, _, row = drawn(jobs_table([(JOB, None, None), (tagged, None, None)], now=NOW), width=200).splitlines()
    assert row[header.index("tags") :].startswith("text team/a")


def test_fire_times_show_what_is_odd_about_them() -> None:
    fires = [FireTime(at=NOW, local=NOW.astimezone(ZoneInfo("Europe/Berlin")), note="the clock goes back")]
    assert drawn(next_table(fires, now=NOW - timedelta(hours=3), jobs=["docs"]), width=120).splitlines() == [
        "job   fires at                     UTC",
        "docs  Sun 2026-11-22 11:02:00 CET  2026-11-22 10:02:00  in 3 h  the clock goes back",
    ]


def test_a_long_list_of_files_comes_in_parts_that_line_up() -> None:
    names = [f"{number}.md".encode() for number in range(12_000)]
    parts = list(files_table(files_of(names)))
    lines = drawn(*parts).splitlines()
    assert (len(parts), len(lines)) == (3, 12_001)
    assert lines[0].split() == ["size", "modified", "since", "run", "path"]
    assert {line.index(name.decode()) for name, line in zip(names, lines[1:], strict=True)} == {lines[0].index("path")}
    assert lines[-1] == "   2.0 KiB  2001-09-09 01:46:40          3  11999.md"


def test_a_long_path_continues_below_and_loses_nothing() -> None:
    path = b"deep/" * 60 + b"end.md"
    lines = drawn(*files_table(files_of([path]))).splitlines()[1:]
    start = lines[0].index("deep")
    assert "".join(line[start:] for line in lines) == path.decode()


def test_changes_show_sizes_before_and_after() -> None:
    changes = [
        Change(kind=ChangeKind.ADDED, path=b"new", new_size_bytes=10),
        Change(kind=ChangeKind.REMOVED, path=b"old", old_size_bytes=10),
        Change(kind=ChangeKind.MODIFIED, path=b"grown", old_size_bytes=10, new_size_bytes=2048),
    ]
    assert [line.split() for line in drawn(*changes_table(changes)).splitlines()[1:]] == [
        ["+", "–", "10", "B", "new"],
        ["−", "10", "B", "–", "old"],
        ["~", "10", "B", "2.0", "KiB", "grown"],
    ]


def test_one_run_is_shown_whole() -> None:
    run = replace(LONG, problems=1, differences=1, message="1 folder could not be read", status=Status.PARTIAL)
    changes = [Change(kind=ChangeKind.ADDED, path=f"{number}.md".encode()) for number in range(25)]
    problems = [Problem(path=b"", errno=13, text="Permission denied")]
    differences = [Difference(path=b"odd.md", found_by=("pool", "incremental"))]
    told = [NOTIFICATION, replace(NOTIFICATION, exit_code=0, message=None), replace(NOTIFICATION, exit_code=-9)]
    view = run_view(run, now=NOW, changes=changes, problems=problems, differences=differences, notifications=told)
    lines = [line.split() for line in drawn(view).splitlines()]
    for expected in (
        "status partial",
        "message 1 folder could not be read",
        "pool sequential incremental",
        "went first second third",
        "wall 270 ms 1.23 s* 12.3 ms",
        "of sequential 0.22×* 1.00× 0.01×*",
        "start-up 10.0 ms – –",
        "CPU / wall 2.07 0.37 36.59",
        "peak memory 19.1 MiB 19.1 MiB 19.1 MiB",
        "cache warm cold warm",
        "workers 2 1 1",
        "files 2,987 2,987 2,987",
        "pool ▒████████ start-up 10.0 ms, scanning 260 ms",
        "… and 5 more",
        "Permission denied (errno 13) .",
        "found by pool and incremental odd.md",
        "change not sent 250 ms mail -s 'two words' it is missing",
        "change sent 250 ms mail -s 'two words'",
        "change exit code -9 250 ms mail -s 'two words' it is missing",
        "python CPython 3.11.7",
    ):
        assert expected.split() in lines
    assert ["+", "–", "–", "19.md"] in lines
    assert ["+", "–", "–", "20.md"] not in lines


def test_what_was_missed_is_told_with_its_number_and_reason_and_no_figures() -> None:
    message = "1 fire time passed while no daemon ran"
    one = replace(MISSED, missed=1, message=message)
    for view in (run_view(one, now=NOW), runs_table([one], now=NOW)):
        assert message in drawn(view)
    keys = {line.split()[0] for line in drawn(run_view(one, now=NOW)).splitlines()}
    assert {"run", "job", "root", "status", "message", "cause", "scheduled", "recorded"} == keys
    assert "finished" in drawn(run_view(FAILED, now=NOW))
    assert "running" in drawn(run_view(MIXED[0], now=NOW))


@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (timedelta(), "now"),
        (timedelta(seconds=-59), "59 s ago"),
        (timedelta(seconds=90), "in 1 min"),
        (timedelta(hours=-47), "47 h ago"),
        (timedelta(days=-2), "2 d ago"),
        (timedelta(days=729), "in 729 d"),
        (timedelta(days=-800), "2 y ago"),
    ],
)
def test_distances_in_time_are_short(distance: timedelta, text: str) -> None:
    assert relative(datetime(2026, 1, 1, tzinfo=UTC) + distance, datetime(2026, 1, 1, tzinfo=UTC)) == text


def test_a_sparkline_rises_with_its_values_and_leaves_gaps() -> None:
    assert "▁▂▃▄▅▆▇█" == sparkline([float(number) for number in range(8)])
    assert "▁ █" == sparkline([1.0, None, 2.0])
    assert "▁▁▁" == sparkline([5.0, 5.0, 5.0])
    assert ("", " ") == (sparkline([]), sparkline([None]))


def test_a_long_series_is_drawn_by_medians_within_the_width() -> None:
    drawn = sparkline([1.0, 1.0, 9.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0], width=4)
    assert ("▁▅██", 4) == (drawn, len(drawn))
