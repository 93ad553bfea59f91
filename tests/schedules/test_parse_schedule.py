"""Text to schedule, and every wrong text to one line."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.model.errors import UsageError
from runner.model.jobs import Schedule, ScheduleKind
from runner.schedules.fire_times import describe
from runner.schedules.parse import parse_schedule, update_schedule

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("kind", "written", "expression"),
    [
        ("every", " 90m ", "1h30m"),
        ("cron", "*/5 * * * *", "*/5 * * * *"),
        ("cron", "  0\t6  * *\n1-5 ", "0 6 * * 1-5"),
        ("cron", "0 0 * jan SUN", "0 0 * jan SUN"),
        ("cron", " @daily ", "@daily"),
        ("at", "2026-11-22T12:30+01:00", "2026-11-22T11:30:00Z"),
        ("every", "hourly", "1h"),
        ("every", "daily", "1d"),
        ("every", " weekly", "7d"),
        ("every", "1 hour", "1h"),
        ("at", "2026-11-22T12:30Z", "2026-11-22T12:30:00Z"),
        ("at", "2026-11-22 12:30", "2026-11-22T11:30:00Z"),
        ("at", "2026-11-23", "2026-11-22T23:00:00Z"),
        ("at", " 20270701T1200 ", "2027-07-01T10:00:00Z"),
        ("at", "2026-11-22T11:00:00.000001", "2026-11-22T10:00:00.000001Z"),
        ("at", "2027-10-31T02:30", "2027-10-31T00:30:00Z"),  # comes twice: the first
        ("at", "2027-03-28T02:30", "2027-03-28T01:30:00Z"),  # does not exist: as if clocks stood
    ],
)
def test_a_schedule_has_a_normal_form_and_its_origin_in_utc(kind: str, written: str, expression: str) -> None:
    east = NOW.astimezone(timezone(timedelta(hours=5)))

    schedule = parse_schedule(**{kind: written}, timezone=BERLIN, now=east)

    expected = Schedule(kind=ScheduleKind(kind), expression=expression, timezone=BERLIN, interval_origin=NOW)
    assert schedule == expected
    assert schedule.interval_origin.tzinfo is UTC


def test_an_instant_in_the_past_is_refused_in_utc() -> None:
    in_the_repeated_hour = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 in Berlin for the second time

    with pytest.raises(UsageError, match="is past, it was 2026-10-25T00:30:00Z"):
        parse_schedule(at="2026-10-25T02:30", timezone=BERLIN, now=in_the_repeated_hour)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "give one of --every, --cron or --at"),
        ({"every": "1h", "cron": "@daily"}, "--every and --cron exclude each other"),
        ({"cron": "@daily", "at": "2027-01-01"}, "--cron and --at exclude each other"),
        ({"every": "1h", "cron": "@daily", "at": "2027-01-01"}, "--every and --cron and --at exclude"),
        ({"every": "0s"}, "is zero"),
        ({"every": "-1h"}, "not a duration"),
        ({"every": "1x"}, "not a duration"),
        ({"every": "1"}, "not a duration"),
        ({"every": ""}, "not a duration"),
        ({"every": "101000d"}, "longer than a century"),
        ({"cron": "61 * * * *"}, "'61' is not a minute"),
        ({"cron": "* 24 * * *"}, "'24' is not an hour"),
        ({"cron": "* * 0 * *"}, "'0' is not a day-of-month"),
        ({"cron": "* * * foo *"}, "'foo' is not a month"),
        ({"cron": "* * * * 8"}, "'8' is not a day-of-week"),
        ({"cron": "* * * * fri-mon"}, "rising ranges"),
        ({"cron": "*/0 * * * *"}, "is not a minute"),
        ({"cron": "1,,2 * * * *"}, "is not a minute"),
        ({"cron": "1" * 5000 + " * * * *"}, "is not a minute"),
        ({"cron": "* * * * *\0"}, "is not a day-of-week"),
        ({"cron": "0 0 * * * *"}, "has 6 fields, not five"),
        ({"cron": "0 0 * *"}, "has 4 fields, not five"),
        ({"cron": ""}, "has 0 fields, not five"),
        ({"cron": "5"}, "has 1 field, not five"),
        ({"cron": "@every 5m"}, "'@every 5m' is an interval; choose it by --every 5m"),
        ({"cron": "@every"}, "'@every' is an interval; choose it by --every 1h"),
        ({"cron": "@reboot"}, "names no clock time"),
        ({"cron": "@fortnightly"}, "the names are @hourly"),
        ({"cron": "0 0 30 2 *"}, "never fires"),
        ({"cron": "0 0 31 4,6,9,11 *"}, "never fires"),
        ({"at": "someday"}, "is not an instant"),
        ({"at": "yesterday"}, "is past"),
        ({"at": "2h"}, "is not an instant"),
        ({"at": ""}, "is not an instant"),
        ({"at": "\udcff\n"}, "is not an instant"),
        ({"at": "2026-11-22T11:00"}, "is past, it was 2026-11-22T10:00:00Z"),
        ({"at": "2026-11-22T09:59:59Z"}, "is past"),
        ({"at": "0001-01-01T00:00"}, "is not an instant"),
        ({"at": "9999-12-31T23:59-12:00"}, "is not an instant"),
        ({"at": "2200-01-01"}, "more than a century ahead"),
        *(
            ({"every": "1h", "timezone": name}, "there is no time zone")
            for name in (
                "",
                ".",
                "/etc/passwd",
                "../UTC",
                "Europe",
                "Europe/",
                "Mars/Base",
                "U\0TC",
                "\udcff",
                "zone.tab",
            )
        ),
        ({"every": "1h", "timezone": "x" * 5000}, "there is no time zone"),
        ({"every": "1h", "timezone": "Europe/Berlin\n"}, "there is no time zone"),
        ({"every": "1h", "jitter": "1h"}, "are only 1h apart"),
        ({"every": "1h", "jitter": "0s"}, "is zero"),
        ({"every": "1h", "jitter": "soon"}, "not a duration"),
        ({"cron": "* * * * *", "jitter": "1m"}, "are only 1m apart"),
        ({"cron": "0,59 * * * *", "jitter": "2m"}, "are only 1m apart"),
        ({"cron": "50 23,0 * * *", "jitter": "1h"}, "are only 1h apart"),
        ({"cron": "0 0 13 * 5", "jitter": "1d"}, "are only 1d apart"),
        # On the last Sunday of March 02:30 is made good at 03:00, half an hour before 03:30.
        ({"cron": "30 2,3 * * *", "jitter": "45m"}, "are only 30m apart"),
        # 01:00 and 03:00 are then one hour apart.
        ({"cron": "0 1-23/2 * * *", "jitter": "90m"}, "are only 1h apart"),
    ],
)
def test_a_wrong_schedule_is_refused_in_one_line(options: dict[str, str], complaint: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_schedule(**{"timezone": BERLIN, **options}, now=NOW)

    (message,) = str(refusal.value).splitlines()
    assert complaint in message


@pytest.mark.parametrize(
    "options",
    [
        {"every": "1h", "jitter": "59m59s"},
        {"cron": "* * * * *", "jitter": "59s"},
        {"cron": "30 2,3 * * *", "jitter": "45m", "timezone": "UTC"},
        {"cron": "0 0 * * 5", "jitter": "6d"},
        {"at": "2026-11-23", "jitter": "30d"},
    ],
)
def test_a_jitter_that_keeps_the_order_is_accepted(options: dict[str, str]) -> None:
    assert parse_schedule(**{"timezone": BERLIN, **options}, now=NOW).jitter_s > 0


cron_texts = st.lists(st.sampled_from([*"0123456789*/-,#LWw", " ", "sun", "jan"])).map("".join)


@given(
    kind=st.sampled_from(["cron", "at"]),
    text=st.text() | cron_texts | st.datetimes().map(str),
    zone=st.text() | st.sampled_from([BERLIN, "Pacific/Apia"]),
)
@example("cron", "* * * * 5L#2", "UTC")
@example("cron", "0 0 L/L * *", "UTC")
def test_any_wrong_text_is_refused_in_one_line(kind: str, text: str, zone: str) -> None:
    try:
        parse_schedule(**{kind: text}, timezone=zone, now=NOW)
    except UsageError as refusal:
        assert len(str(refusal).splitlines()) == 1  # noqa: PT017 - most texts are refused, the others are right


def test_the_zone_is_the_local_one_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")

    assert parse_schedule(every="1h", now=NOW).timezone == "Asia/Kathmandu"
    assert parse_schedule(every="1h", timezone=BERLIN, now=NOW).timezone == BERLIN


@pytest.mark.parametrize(
    ("options", "description"),
    [
        ({"every": "60m"}, "every 1h"),
        ({"every": "1h", "jitter": "30s"}, "every 1h, jitter 30s"),
        ({"cron": "*/5 * * * *"}, "cron */5 * * * * (Europe/Berlin)"),
        ({"cron": "@daily", "jitter": "90s"}, "cron @daily (Europe/Berlin), jitter 1m30s"),
        ({"at": "2026-11-22T12:00"}, "at 2026-11-22T11:00:00Z"),
    ],
)
def test_a_schedule_is_described(options: dict[str, str], description: str) -> None:
    assert describe(parse_schedule(**{"timezone": BERLIN, **options}, now=NOW)) == description


def test_parsing_a_schedule_does_not_import_apscheduler() -> None:
    code = "import sys, runner.schedules.parse; print('apscheduler' in sys.modules, 'tzlocal' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": "."}
    )

    assert answer.stdout == "False False\n"


def test_a_new_interval_keeps_the_jitter() -> None:
    old = parse_schedule(every="10m", jitter="5m", timezone="UTC", now=NOW)
    kept = update_schedule(old, every="20m", now=NOW)
    dropped = update_schedule(old, jitter="none", now=NOW)
    assert kept is not None
    assert dropped is not None
    assert ("20m", 300) == (kept.expression, kept.jitter_s)
    assert ("10m", 0) == (dropped.expression, dropped.jitter_s)
    assert update_schedule(old, now=NOW) is old


def test_an_interval_that_stays_the_same_keeps_its_phase() -> None:
    old = parse_schedule(every="1h", timezone="UTC", now=NOW)
    later = NOW + timedelta(minutes=25)
    assert old == update_schedule(old, every="60m", now=later)
    assert replace(old, jitter_s=300) == update_schedule(old, every="1h", jitter="5m", now=later)
    other = update_schedule(old, every="2h", now=later)
    assert other is not None
    assert later == other.interval_origin
