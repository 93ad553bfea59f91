"""Local times that occur twice or not at all, wherever a command or a job file takes an instant."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import Program

from runner.cli.main import load_commands
from runner.schedules.instants import find_clock_warning, parse_instant

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
BERLIN = "Europe/Berlin"
TWICE = "warning: 2025-10-26 02:30 occurs twice in Europe/Berlin, at 2025-10-26T00:30:00Z and at 2025-10-26T01:30:00Z;"
NEVER = "warning: 2025-03-30 02:30 does not exist in Europe/Berlin, as clocks go forward; it is read as "
ASKING = [
    *("history --since {}", "history --until {}", "trends docs --since {}", "trends docs --until {}"),
    *("regressions --since {}", "changes docs --since {}", "changes docs --until {}", "files docs --at {}"),
    "report docs --since {}",
]


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-10-25T02:30", BERLIN, "at 2026-10-25T00:30:00Z and at 2026-10-25T01:30:00Z; the first is used"),
        ("2026-10-25T02:30", BERLIN, "write 2026-10-25T02:30:00+01:00 for the second"),
        ("2026-10-25 02:00", BERLIN, "at 2026-10-25T00:00:00Z and at 2026-10-25T01:00:00Z"),
        ("2026-10-25T03:00", BERLIN, None),
        ("2026-10-25T01:59:59", BERLIN, None),
        ("2026-10-25T02:30+02:00", BERLIN, None),
        ("20261025T0230", "CET-1CEST,M3.5.0,M10.5.0/3", "occurs twice in CET-1CEST,M3.5.0,M10.5.0/3, at 2026-10-25T0"),
        (
            "2026-11-01",
            "America/Havana",
            "2026-11-01 00:00 occurs twice in America/Havana, at 2026-11-01T04:00:00Z and",
        ),
        ("2026-04-05T01:45", "Australia/Lord_Howe", "at 2026-04-04T14:45:00Z and at 2026-04-04T15:15:00Z"),
        ("2026-03-29T02:30", BERLIN, "does not exist in Europe/Berlin"),
        ("2026-03-29T02:30", BERLIN, "it is read as 2026-03-29T03:30:00+02:00, 2026-03-29T01:30:00Z"),
        ("2026-03-29T02:00:00.5", BERLIN, "2026-03-29 02:00:00.500000 does not exist"),
        ("2026-03-29T03:00", BERLIN, None),
        ("2026-03-29", "Asia/Beirut", "it is read as 2026-03-29T01:00:00+03:00, 2026-03-28T22:00:00Z"),
        ("2011-12-30T12:00", "Pacific/Apia", "it is read as 2011-12-31T12:00:00+14:00, 2011-12-30T22:00:00Z"),
        ("7d", BERLIN, None),
        ("nonsense", BERLIN, None),
        ("9999-12-31T23:59", "America/New_York", None),
    ],
)
def test_repeated_and_skipped_times_cause_a_warning(text: str, zone: str, expected: str | None) -> None:
    warning = find_clock_warning(text, zone, now=NOW)

    assert (expected is None) == (warning is None)
    assert (expected or "") in (warning or "")


def test_instants_are_read_as_by_date(monkeypatch: pytest.MonkeyPatch) -> None:
    for zone in (BERLIN, "Asia/Kathmandu", "AEST-10AEDT,M10.1.0,M4.1.0/3"):
        monkeypatch.setenv("TZ", zone)
        for text in ("2026-01-01", "2026-07-01T12:34:56", "1999-12-31T23:59"):
            done = subprocess.run(["date", "-d", text, "+%s"], capture_output=True, check=True)
            assert int(done.stdout) == parse_instant(text, now=NOW).timestamp()


@pytest.fixture
def scanned(program: Program, tree: Path) -> Program:
    """Return a program in Berlin with a job that has a run."""
    program.environment["TZ"] = BERLIN
    program.out("schedule", tree, "--every", "1h", "--strategy", "sequential")
    program.out("run", "docs")
    return program


def test_questions_warn_once_on_stderr(scanned: Program, subtests: pytest.Subtests) -> None:
    for line in ASKING:
        for written, expected in (("2025-10-26T02:30", TWICE), ("2025-03-30T02:30", NEVER)):
            with subtests.test(line, written=written):
                done = scanned.quick(*line.format(written).split())
                assert 1 == done.stderr.decode().count(expected)
                assert b"warning" not in done.stdout
        with subtests.test(line, written="unambiguous"):
            assert b"warning" not in scanned.quick(*line.format("2025-10-26T02:30+02:00").split()).stderr


def test_every_option_for_an_instant_is_among_the_questions() -> None:
    group = load_commands()
    found = {
        f"{name} {parameter.opts[0]}"
        for name, command in group.commands.items()
        for parameter in command.params
        if getattr(parameter, "metavar", None) == "WHEN"
    }
    asked = {f"{line.split()[0]} {line.split()[-2]}" for line in ASKING}
    assert found == asked | {"schedule --at", "edit --at"}


@pytest.mark.parametrize(
    ("written", "expected", "at"),
    [
        ("2027-10-31T02:30", "at 2027-10-31T00:30:00Z and at 2027-10-31T01:30:00Z", "2027-10-31T00:30:00Z"),
        ("2027-03-28T02:30", "it is read as 2027-03-28T03:30:00+02:00, 2027-03-28T01:30:00Z", "2027-03-28T01:30:00Z"),
    ],
)
def test_schedules_warn_and_fire_at_the_instant_named(
    program: Program, tree: Path, written: str, expected: str, at: str
) -> None:
    new = program.quick("schedule", tree, "--at", written, "--timezone", BERLIN)
    program.out("schedule", tree, "--every", "1h", "--name", "other", "--timezone", BERLIN)
    changed = program.quick("edit", "other", "--at", written)
    jobs = program.folder / "jobs.toml"
    jobs.write_text(f"[jobs.third]\nroot = '{tree}'\nat = {written}:00\ntimezone = '{BERLIN}'\n")
    dry = program.quick("jobs", "apply", jobs, "--dry-run")
    applied = program.quick("jobs", "apply", jobs)
    again = program.quick("jobs", "apply", jobs)

    for done in (new, changed, dry, applied):
        assert 0 == done.returncode
        assert 1 == done.stderr.decode().count(expected), done.stderr
    assert b"warning" not in again.stderr
    assert [at] * 3 == [one["at"] for one in program.json("next")]
