"""POSIX time zones and the machine's zone, with `date` as the oracle."""

import os
import random
import subprocess
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from conftest import Program, until

from runner.model.errors import UsageError
from runner.model.jobs import Schedule, ScheduleKind
from runner.schedules.fire_times import fire_times
from runner.schedules.instants import local_zone_name
from runner.schedules.zones import find_zone, load_zone, offset_periods

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
ZONES = [
    "JST-9",
    "<+03>-3",
    "<-0330>+3:30:15",
    "UTC0",
    "EST5EDT",
    "MST7MDT",
    "AEST-10AEDT,M10.1.0,M4.1.0/3",
    "CET-1CEST,M3.5.0,M10.5.0/3",
    "EST5EDT4,M3.2.0/26,M11.1.0/167",
    "<-03>3<-02>,M3.5.0/-2,M10.5.0/-1",
    "IST-2IDT,M3.4.4/26,M10.5.0",
    "IST-1GMT0,M10.5.0,M3.5.0/1",
    "AAA3BBB,J60,J300/0:30:10",
    "AAA0BBB,J100,J104/2",
    "<ABC>-12:45<DEF>-13:45,M9.5.0/2:45,M4.1.0/3:45",
    "NZST-12NZDT,M9.5.0,M4.1.0/3",
    "LMT-0:53:28",
]


def cron(expression: str, zone: str) -> Schedule:
    return Schedule(kind=ScheduleKind.CRON, expression=expression, timezone=zone, interval_origin=NOW)


def ask_date(zone: str, instants: list[datetime], shown: str) -> list[str]:
    """Ask date how it shows instants in a zone."""
    done = subprocess.run(
        ["date", "--file=-", f"+{shown}"],
        input="".join(f"@{int(instant.timestamp())}\n" for instant in instants),
        capture_output=True, text=True, check=True, env={**os.environ, "TZ": zone},
    )  # fmt: skip
    return done.stdout.splitlines()


def python_offset(local: datetime) -> str:
    seconds = int((local.utcoffset() or timedelta()).total_seconds())
    minutes, second = divmod(abs(seconds), 60)
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}:{second:02} {local.tzname()}"


@pytest.mark.parametrize("zone", ZONES)
def test_offsets_are_those_of_date(zone: str) -> None:
    choice = random.Random(zone)  # noqa: S311  not secret
    edges = [period.start for period in islice(offset_periods(zone, datetime(2008, 1, 1, tzinfo=UTC)), 60)]
    near = [edge + timedelta(seconds=by) for edge in edges for by in (-7200, -3600, -1, 0, 1, 3599, 3600)]
    far = [datetime(2008, 1, 1, tzinfo=UTC) + timedelta(seconds=choice.randrange(28 * 365 * 86400)) for _ in range(900)]
    tz = load_zone(zone)

    expected = ask_date(zone, near + far, "%::z %Z")

    assert expected == [python_offset(instant.astimezone(tz)) for instant in near + far]
    assert near + far == [instant.astimezone(tz).astimezone(UTC) for instant in near + far]


@pytest.mark.parametrize("zone", ZONES)
def test_every_change_of_offset_is_found(zone: str) -> None:
    hours = [datetime(2027, 1, 1, tzinfo=UTC) + timedelta(hours=number) for number in range(2 * 8760)]
    offsets = ask_date(zone, hours, "%::z")
    changes = {hour for hour, before, after in zip(hours[1:], offsets, offsets[1:], strict=False) if before != after}
    found = [one for one in islice(offset_periods(zone, hours[0]), 40) if one.moved and one.start < hours[-1]]

    rounded = {one.start + timedelta(seconds=-int(one.start.timestamp()) % 3600) for one in found}

    assert changes == rounded - {hours[0]}


def test_an_equal_zone_has_the_fire_times_of_its_name() -> None:
    named, posix = (
        list(islice(fire_times(cron("*/20 1-3 * * *", zone), 1, NOW), 5000))
        for zone in ("Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3")
    )

    assert named == posix


@pytest.mark.parametrize(
    "zone",
    [
        *("JS-9", "JST", "JST-", "JST-25", "JST-24", "JST-9:60", "JST--9", "<+3>-3", "<+03-3", "+03>-3"),
        *("CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0", "CET-1CEST,M3.6.0,M10.5.0", "CET-1CEST,M3.5.7,M10.5.0"),
        *("CET-1CEST,J0,J300", "CET-1CEST,J1,J366", "CET-1CEST,59,300", "CET-1CEST,M3.5.0/168,M10.5.0"),
        *("CET-1CEST,M3.5.0,M10.5.0/3x", "CET-1CEST,M0.5.0,M10.5.0", "CET-1CEST,M3.0.0,M10.5.0", "JST-9\n", "JST-٩"),
        *("XXX-23:30YYY", "right/Europe/Berlin", "/usr/share/zoneinfo/right/Europe/Berlin", "Europe/Berln"),
        *("JST-9,M3.5.0,M10.5.0", "", ":", "::UTC", "AAA5BBB", "CET-1CEST"),
        *("AAA0BBB,J100,J101/2", "XXX3EDT4,J100,J365/23", "AAA3BBB,M12.5.0,M3.1.0", "AAA3BBB,M3.4.0,J90"),
    ],
)
def test_a_wrong_zone_is_refused_with_its_value(zone: str) -> None:
    with pytest.raises(UsageError) as refusal:
        find_zone(zone)
    assert repr(zone) in str(refusal.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", "UTC"),
        (":", "UTC"),
        ("Asia/Tokyo", "Asia/Tokyo"),
        (":Asia/Tokyo", "Asia/Tokyo"),
        ("/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
        (":/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
        ("EST5EDT", "EST5EDT"),
        ("JST-9", "JST-9"),
        (":CET-1CEST,M3.5.0,M10.5.0/3", "CET-1CEST,M3.5.0,M10.5.0/3"),
    ],
)
def test_tz_names_the_local_zone(value: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", value)

    assert expected == local_zone_name()


@pytest.mark.parametrize("value", ["Europe/Berln", "/etc/passwd", "/nowhere", "JST-99", " JST-9", "Europe", "."])
def test_a_wrong_tz_is_refused_with_its_value(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", value)

    with pytest.raises(UsageError, match=f"TZ is {value!r}"):
        local_zone_name()


def test_a_copied_zone_file_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, link, unknown = tmp_path / "localtime", tmp_path / "link", tmp_path / "unknown"
    data = Path("/usr/share/zoneinfo/Asia/Kathmandu").read_bytes()
    copy.write_bytes(data)
    link.symlink_to("/usr/share/zoneinfo/Pacific/Apia")
    unknown.write_bytes(data.replace(b"<+0545>", b"<+0546>"))
    monkeypatch.setenv("TZ", str(copy))
    same = Path("/usr/share/zoneinfo") / local_zone_name()
    assert data == same.read_bytes()
    monkeypatch.setenv("TZ", f":{link}")
    assert "Pacific/Apia" == local_zone_name()
    monkeypatch.setenv("TZ", str(unknown))
    with pytest.raises(UsageError, match="unknown"):
        local_zone_name()
    monkeypatch.setenv("TZDIR", str(tmp_path))
    monkeypatch.setenv("TZ", "localtime")
    assert data == (Path("/usr/share/zoneinfo") / local_zone_name()).read_bytes()


@pytest.mark.parametrize(
    ("target", "expected"),
    [("/usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo"), (None, "UTC"), ("/usr/share/zoneinfo/Nowhere", "UTC")],
)
def test_without_tz_the_zone_is_that_of_etc_localtime(
    target: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TZ", raising=False)
    link = tmp_path / "localtime"
    if target is not None:
        link.symlink_to(target)
    monkeypatch.setattr("runner.schedules.instants.LOCALTIME", str(link))

    assert expected == local_zone_name()


@pytest.mark.parametrize("zone", ["EST5EDT", "MST7MDT", "CET-1CEST,M3.5.0,M10.5.0/3", "<+03>-3", "JST-9"])
@pytest.mark.parametrize("by", ["TZ", "--timezone"])
def test_commands_fire_at_noon_of_a_posix_zone(program: Program, tree: Path, zone: str, by: str) -> None:
    named = ["--timezone", zone] if by == "--timezone" else []
    if not named:
        program.environment["TZ"] = zone
    program.out("schedule", tree, "--cron", "0 12 * * *", *named)
    times = [datetime.fromisoformat(one["at"]) for one in program.json("next", "docs", "--count", "400")]
    assert ["12:00"] * 400 == ask_date(zone, times, "%H:%M")
    assert zone == program.json("jobs")[0]["timezone"]
    assert zone in program.out("jobs", "export")


@pytest.mark.parametrize(
    "line",
    [
        ("schedule", "docs", "--every", "1h"),
        ("schedule", "docs", "--cron", "@daily"),
        ("schedule", "docs", "--at", "2099-01-01T00:00"),
        ("history", "--since", "2026-01-01"),
    ],
)
def test_a_tz_that_does_not_exist_is_refused(program: Program, tree: Path, line: tuple[str, ...]) -> None:
    program.environment["TZ"] = "Europe/Berln"
    done = program.quick(*line)
    assert (2, b"", 1) == (done.returncode, done.stdout, done.stderr.count(b"\n"))
    assert b"'Europe/Berln'" in done.stderr
    assert b"TZ" in done.stderr
    assert not program.database.exists()
    assert tree.exists()


def test_a_job_file_names_posix_zones(program: Program, tree: Path) -> None:
    jobs = program.folder / "jobs.toml"
    jobs.write_text(f"[jobs.noon]\nroot = '{tree}'\ncron = '0 12 * * *'\ntimezone = '<+03>-3'\n")
    program.out("jobs", "apply", jobs)
    assert program.json("next")[0]["at"].endswith("T09:00:00Z")
    jobs.write_text(jobs.read_text().replace("<+03>", "<+03"))
    done = program.quick("jobs", "apply", jobs)
    assert (2, 1) == (done.returncode, done.stderr.count(b"\n"))
    assert b"'<+03-3'" in done.stderr


def test_a_daemon_in_a_posix_zone_fires(program: Program, tree: Path) -> None:
    program.environment["TZ"] = "CET-1CEST,M3.5.0,M10.5.0/3"
    program.out("schedule", tree, "--every", "1s", "--strategy", "sequential")
    with program.daemon() as daemon:
        until(lambda: program.history("succeeded"), "a run")
        assert 0 == daemon.stop()
