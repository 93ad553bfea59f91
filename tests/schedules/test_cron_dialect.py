"""The dialect of cron expressions: what is supported, by a plain calendar, and what is refused by name."""

import calendar
from datetime import UTC, date, datetime, timedelta

import pytest
from conftest import Program

from runner.model.errors import UsageError
from runner.schedules.cron import load_cron

DAYS = [date(2026, 1, 1) + timedelta(days=number) for number in range(3 * 366)]


def last_day(day: date) -> date:
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def last_weekday(day: date) -> date:
    last = last_day(day)
    return last - timedelta(days=max(0, last.isoweekday() - 5))


def is_last(day: date, weekday: int) -> bool:
    return day.isoweekday() % 7 == weekday and (day + timedelta(days=7)).month != day.month


def is_nth(day: date, weekday: int, n: int) -> bool:
    return day.isoweekday() % 7 == weekday and (day.day - 1) // 7 == n - 1


@pytest.mark.parametrize(
    ("fields", "days"),
    [
        ("* * *", lambda _: True),
        ("L * *", lambda day: day == last_day(day)),
        ("l * *", lambda day: day == last_day(day)),
        ("15,L * *", lambda day: day.day == 15 or day == last_day(day)),
        ("LW * *", lambda day: day == last_weekday(day)),
        ("L feb *", lambda day: day.month == 2 and day == last_day(day)),
        ("* * 5L", lambda day: is_last(day, 5)),
        ("* * 0L", lambda day: is_last(day, 0)),
        ("* * 7L", lambda day: is_last(day, 0)),
        ("* * 1L,3L", lambda day: is_last(day, 1) or is_last(day, 3)),
        ("* * MON#1", lambda day: is_nth(day, 1, 1)),
        ("* * mon#5", lambda day: is_nth(day, 1, 5)),
        ("* * 7#2,fri#4", lambda day: is_nth(day, 0, 2) or is_nth(day, 5, 4)),
        ("1 * 5L", lambda day: day.day == 1 or is_last(day, 5)),
        ("L * MON#1", lambda day: day == last_day(day) or is_nth(day, 1, 1)),
        ("*/2 * mon", lambda day: day.day % 2 == 1 and day.isoweekday() == 1),
        ("13 * fri", lambda day: day.day == 13 or day.isoweekday() == 5),
        ("1-7 * *", lambda day: day.day <= 7),
        ("1-31/10 * *", lambda day: day.day in {1, 11, 21, 31}),
        ("25/2 * *", lambda day: day.day in {25, 27, 29, 31}),
        ("* jan-mar,12 *", lambda day: day.month in {1, 2, 3, 12}),
        ("* */5 *", lambda day: day.month in {1, 6, 11}),
        ("* * sun", lambda day: day.isoweekday() == 7),
        ("* * 0", lambda day: day.isoweekday() == 7),
        ("* * 7", lambda day: day.isoweekday() == 7),
        ("* * 5-7", lambda day: day.isoweekday() >= 5),
        ("* * mon-fri/2", lambda day: day.isoweekday() in {1, 3, 5}),
    ],
)
def test_supported_days_are_those_of_the_calendar(fields: str, days: object) -> None:
    cron = load_cron(f"0 0 {fields}")

    assert callable(days)
    assert [day for day in DAYS if days(day)] == [day for day in DAYS if cron.fires_on(day)]


@pytest.mark.parametrize(
    ("fields", "minutes"),
    [
        ("5 4", [245]),
        ("05 04", [245]),
        ("*/20 0", [0, 20, 40]),
        ("10-30/10 1", [70, 80, 90]),
        ("50/5 23", [1430, 1435]),
        ("1,3-5 0", [1, 3, 4, 5]),
        ("0 */12", [0, 720]),
        ("0 9-17/4", [540, 780, 1020]),
        ("*/90 0", [0]),
        ("*,5 0", list(range(60))),
    ],
)
def test_supported_times_equal_those_of_cron(fields: str, minutes: list[int]) -> None:
    assert tuple(minutes) == load_cron(f"{fields} * * *").minutes


# Where notations of other programs stand, the notations, and what is said about each.
FOREIGN = [
    ("0 0 {} * 1", "?", "is no value in Quartz, which is not supported; write *"),
    ("{} * * * *", "?", "is no value in Quartz, which is not supported; write *"),
    ("{} 0 * * *", "H H/15 h(0-29) R 0~30 ~", "is a random time, which is not supported"),
    ("0 0 * * {}", "1~5", "is a random time, which is not supported"),
    ("0 0 {} * *", "15W W WL 15w", "is the weekday nearest to a day, which is not supported; the last day is L"),
    ("0 0 {} * *", "L-3 LW-1", "is a day before the last one"),
    ("0 0 1,{} * *", "L/2 LW/3", "is a step from the last day"),
    ("0 0 * * {}", "5L/2 L friL L5 1-5L LW 8L", "is a last weekday without its number, which is not supported"),
    ("0 0 * * {}", "mon#1/2 mon#6 mon#0 #2 mon-fri#2 *#1", "is no weekday of a month, which is not supported; write"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        *(
            (place.format(item), f"{item!r} in a cron expression {said}")
            for place, items, said in FOREIGN
            for item in items.split()
        ),
        ("0 0 mon#2 * *", "'mon#2' is not a day-of-month of a cron expression; use 1 to 31, L for the last day"),
        ("0 0 * * 9#1", "'9#1' is not a day-of-week"),
        ("L * * * *", "'L' is not a minute"),
        ("0 L * * *", "'L' is not an hour"),
        ("0 0 * L *", "'L' is not a month"),
        ("0 0 * * \N{LATIN SMALL LETTER LONG S}un", "'\N{LATIN SMALL LETTER LONG S}un' is not a day-of-week"),
        ("0 0 * * fr\N{LATIN SMALL LETTER DOTLESS I}", "'fr\N{LATIN SMALL LETTER DOTLESS I}' is not a day-of-week"),
        ("0 0 * january *", "'january' is not a month"),
        ("0 0 * * monday", "'monday' is not a day-of-week"),
        ("0 0 * * sat-sun", "'sat-sun' is not a day-of-week of a cron expression; use 0 to 7"),
        ("50-10 * * * *", "rising ranges"),
        ("0 0 0 1 1 ? 2027", "has 7 fields"),
        ("CRON_TZ=Europe/Berlin 0 0 * * *", "'CRON_TZ=Europe/Berlin' is not a field of cron; choose the time zone by"),
        ("TZ=UTC 0 0 * * *", "'TZ=UTC' is not a field of cron; choose the time zone by --timezone UTC"),
        ("@Daily", "the names are @hourly"),
        ("@every_minute", "choose it by --every"),
        ("0 0 * * *\N{FULLWIDTH DIGIT ONE}", "is not a day-of-week"),
        ("* * * * 1!", "is not a day-of-week"),
    ],
)
def test_other_notations_are_refused_by_name(expression: str, said: str) -> None:
    with pytest.raises(UsageError) as refusal:
        load_cron(expression)
    assert said in str(refusal.value)
    assert 1 == len(str(refusal.value).splitlines())


@pytest.mark.usefixtures("tree")
def test_help_and_command_agree(program: Program) -> None:
    text = " ".join(program.out("schedule", "--help").split())
    for form in ("L", "LW", "5L", "MON#1"):
        assert form in text
    done = program.quick("schedule", "docs", "--cron", "0 0 15W * *")
    assert (2, 1) == (done.returncode, done.stderr.count(b"\n"))
    assert b"15W" in done.stderr
    program.out("schedule", "docs", "--cron", "0 12 * * MON#1", "--timezone", "UTC")
    first = datetime.fromisoformat(program.json("next")[0]["at"]).astimezone(UTC)
    assert (0, 12) == (first.weekday(), first.hour)
    assert first.day <= 7
