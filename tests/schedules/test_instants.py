from datetime import UTC, datetime

import pytest

from runner.model.errors import UsageError
from runner.model.units import format_instant
from runner.schedules.instants import find_clock_warning, find_reading, parse_instant, parse_past

NOW = datetime(2026, 3, 28, 11, tzinfo=UTC)  # a Saturday, 12:00 in Berlin, the day before clocks go forward
BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("text", "past", "ahead"),
    [
        ("now", "2026-03-28T11:00:00Z", None),
        ("7 days ago", "2026-03-21T11:00:00Z", None),
        ("2 hours ago", "2026-03-28T09:00:00Z", None),
        ("in an hour", "2026-03-28T12:00:00Z", None),
        ("today", "2026-03-27T23:00:00Z", None),
        ("yesterday", "2026-03-26T23:00:00Z", None),
        ("Yesterday 18:30", "2026-03-27T17:30:00Z", None),
        ("tomorrow 9:00", "2026-03-29T07:00:00Z", None),
        ("09:00:01", "2026-03-28T08:00:01Z", None),
        ("monday", "2026-03-22T23:00:00Z", "2026-03-29T22:00:00Z"),
        ("mon at 10:00", "2026-03-23T09:00:00Z", "2026-03-30T08:00:00Z"),
        ("saturday", "2026-03-27T23:00:00Z", "2026-04-03T22:00:00Z"),
        ("saturday 12:00", "2026-03-28T11:00:00Z", "2026-04-04T10:00:00Z"),
        ("saturday, 12:01", "2026-03-21T11:01:00Z", "2026-03-28T11:01:00Z"),
        ("last saturday", "2026-03-20T23:00:00Z", None),
        ("next saturday", "2026-04-03T22:00:00Z", None),
        ("next sunday", "2026-03-28T23:00:00Z", None),
    ],
)
def test_words_are_read_in_local_time(text: str, past: str, ahead: str | None) -> None:
    read = [format_instant(parse_instant(text, now=NOW, zone=BERLIN, ahead=each)) for each in (False, True)]
    assert [past, ahead or past] == read


# Python reads these.
GARBAGE = ["20261129111", "1731010100000", "2026-11-29T11111111", "2026-11-29T101010123", "1" * 5000]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "last",
        "last yesterday",
        "last 09:00",
        "monday at",
        "mondays",
        "25:00",
        "monday 9",
        "ago",
        "in 7",
        *GARBAGE,
    ],
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not an instant; write it like"):
        parse_past(text, now=NOW)


def test_a_bare_duration_is_in_the_past() -> None:
    assert "2026-03-21T11:00:00Z" == format_instant(parse_past("7d", now=NOW))
    with pytest.raises(ValueError, match="7d"):
        parse_instant("7d", now=NOW, ahead=True)


def test_words_for_a_day_are_explained() -> None:
    told = "'tomorrow 02:30' is read as Sun 2026-03-29 03:30:00 CEST"
    assert told == find_reading("tomorrow 02:30", BERLIN, now=NOW)
    assert [None] * 4 == [find_reading(text, BERLIN, now=NOW) for text in ("7d", "now", "2026-03-01", "nonsense")]


def test_words_for_a_skipped_time_cause_a_warning() -> None:
    warning = find_clock_warning("tomorrow 02:30", BERLIN, now=NOW)
    assert warning is not None
    assert "2026-03-29 02:30 does not exist in Europe/Berlin" in warning
