"""Every bad input: one line that begins with ``runner:``, exit code 2, nothing on stdout, nothing changed."""

import os
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Program, as_nobody_special

from runner.history.jobs import list_jobs

# Flags of `schedule docs`, and other command lines; divided by bars.
SCHEDULE = """
--every 0s | --every -1h | --every 1x | --every 1 | --every '' | --every 1h --cron '0 * * * *'
--every 1h --at 2099-01-01
--cron '0 * * * *' --at 2099-01-01 | --cron '61 * * * *' | --cron '0 0 * * * *' | --cron '0 0 30 2 *'
--cron '* * *' | --cron @never
--at 2020-01-01 | --at someday
--every 1h --timezone Mars/Olympus | --every 1h --timezone ../../etc/passwd | --every 1h --jitter 2h
--every 1h --jitter x | --every 1h --pattern '' | --every 1h --exclude '' | --every 1h --exclude a --exclude ''
--every 1h --workers 0 | --every 1h --workers 1000000 | --every 1h --workers many | --every 1h --timeout 0s
--every 1h --full-every never | --every 1h --full-every 0s | --every 1h --strategy quantum
--every 1h --strategy pool --strategy pool | --every 1h --track all | --every 1h --catchup twice
--every 1h --name docs | --every 1h --name '' | --every 1h --name 7 | --every 1h --name=-x
--every 1h --name a/b | --every 1h --name . | --every 1h --name .. | --every 1h --bogus
"""
OTHERS = """
bogus
--bogus
db | db bogus
jobs bogus | jobs --format xml | jobs --format json export | jobs --db . export | jobs export --format json
jobs apply | jobs apply missing.toml | jobs apply . | jobs apply file | jobs apply wrong.toml --prune
jobs apply wrong.toml --dry-run --format json
calibrate
trends docs extra | trends nothing | trends docs --metric beauty | trends docs --since 1d --until 2d
trends docs --since 2099-01-01 | trends docs --since 2099-01-01 --until 2100-01-01
regressions --since 2099-01-01
history --since 2099-01-01
changes docs --since 2099-01-01 | changes docs --until 2099-01-01
regressions --fail-over 20 | regressions --fail-over much% | regressions --metric beauty | regressions nothing
prune | prune --keep-failures | prune --older-than soon | prune --keep 0 | prune nothing --keep 1
calibrate missing | calibrate '' | calibrate . --rounds 0 | calibrate . --workers 0 | calibrate . --pattern a/b
calibrate . --last | calibrate . --last --rounds 2
schedule | schedule docs --name new | schedule missing --every 1h | schedule '' --every 1h
run ''
schedule file --every 1h
edit nobody --every 1h | edit docs --every 0s | edit docs --name other | edit docs --name=-x
edit docs --workers 0 | edit docs --pattern ''
pause nobody
resume 99
remove nobody
next nobody | next --count 0
run nobody | run ./missing | run ./file
history nobody | history --limit 0 | history --status bogus | history --since nonsense
history --since 1d --until 2d | history --format xml
show abc | show 0 | show 99 | show 99999999999999999999 | explain nothing | history --watch | history --json -f csv
files nobody | files other | files docs --run 99 | files other --run 1 | files docs --at 2099-01-01
files docs --run 1 --at 2020-01-01 | files docs --at 2020-01-01
status --format yaml
sample docs | sample new --recipe nope
lesson missing | lesson --rounds 0
demo --firings 1
db backup runner.db | db backup '' | db backup . | db backup /
--db . jobs | --db file jobs | --db missing/runner.db jobs | --db postgresql://nowhere/db jobs
--db nonsense:// jobs | --db newer.db jobs | --db foreign.db jobs
"""


# All of them would be right if the database were there, or wrong in what they ask of it.
ASKING = [
    *("history", "show 1", "files docs", "changes docs", "trends docs", "regressions", "jobs", "next", "status"),
    *("prune --keep 1", "prune --keep 1 --dry-run", "edit docs --every 2h", "pause docs", "resume docs"),
    *("remove docs", "cancel 1", "db check", "db backup copy.db"),
]
# What an empty history answers as well as any, and with which exit code.
EMPTY = {"history": 0, "jobs": 0, "next": 0, "status": 1}


@pytest.fixture
def known(program: Program, tree: Path) -> Program:
    """Give a database with the jobs docs, which has one run, and other, which has none; and files to go wrong with."""
    (program.folder / "file").write_text("text, not SQLite, and longer than its header of a hundred bytes\n" * 3)
    (program.folder / "wrong.toml").write_text("[jobs.new]\nroot = 'docs'\n[jobs.docs]\nroot = 'missing'\n")
    program.out("schedule", tree, "--every", "1h", "--strategy", "sequential")
    program.out("schedule", tree, "--every", "1h", "--name", "other")
    program.out("run", "docs")
    program.out("db", "backup", "newer.db")
    for name, statement in (
        ("newer.db", "UPDATE alembic_version SET version_num = '9999'"),
        ("foreign.db", "CREATE TABLE theirs (id)"),
    ):
        with closing(sqlite3.connect(program.folder / name)) as database, database:
            database.execute(statement)
    return program


def cases(table: str) -> list[str]:
    return [case.strip() for line in table.strip().splitlines() for case in line.split("|")]


def jobs_of(program: Program) -> object:
    with program.opened() as database:
        return list_jobs(database)


def test_every_bad_input_is_one_line_with_nothing_changed(known: Program, subtests: pytest.Subtests) -> None:
    before = jobs_of(known), known.history(), sorted(os.listdir(known.folder))
    for line in [f"schedule docs --name new {flags}" for flags in cases(SCHEDULE)] + cases(OTHERS):
        with subtests.test(line):
            assert "defect" not in known.refused(*shlex.split(line))
            assert before == (jobs_of(known), known.history(), sorted(os.listdir(known.folder)))


@pytest.mark.parametrize("line", ["show", "run", "edit", "explain"])
def test_thousands_of_digits_are_refused(known: Program, line: str) -> None:
    assert "there is no " in known.refused(*line.split(), "1" * 5000)


@pytest.mark.parametrize(
    "line",
    [
        *("lesson ''", "sample ''", "sample '' --recipe demo", "jobs apply ''", "files docs --under ''"),
        *("service print --system --user-account ''", "schedule '' --every 1h", "calibrate ''"),
    ],
)
def test_what_is_empty_is_said_to_be_and_means_nothing_else(known: Program, line: str) -> None:
    before = sorted(os.listdir(known.folder))
    assert " is empty; " in known.refused(*shlex.split(line))
    assert before == sorted(os.listdir(known.folder))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("regressions --fail-over", "see `runner regressions --help`"),
        ("db path --db", "see `runner db path --help`"),
        ("jobs --format", "see `runner jobs --help`"),
        ("jobs apply --format", "see `runner jobs apply --help`"),
        ("--db x.db schedule docs --every", "see `runner schedule --help`"),
        ("--db", "see `runner --help`"),
        ("cancel abc", "'abc' is not a whole number; see `runner cancel --help`"),
        ("history -n many", "'many' is not a whole number; see `runner history --help`"),
        ("history --status bogus", "there is no status 'bogus'; choose from running, succeeded,"),
    ],
)
def test_the_help_that_is_named_is_that_of_the_command(program: Program, line: str, said: str) -> None:
    assert said in program.refused(*line.split())


@pytest.mark.parametrize("line", ["schedule missing --every 1h", "bogus", "history --limit 0", "show abc"])
def test_bad_input_creates_no_database(program: Program, line: str) -> None:
    program.refused(*line.split())
    assert not program.database.exists()


@pytest.mark.parametrize("named_by", ["flag", "environment", "settings"])
def test_a_database_that_is_not_there_is_not_made_by_asking(program: Program, tree: Path, named_by: str) -> None:
    typo = program.folder / "typo.db"
    before = sorted(os.listdir(program.folder))
    if named_by == "flag":
        program.environment["RUNNER_DB"] = str(program.folder / "right.db")
    elif named_by == "environment":
        program.environment["RUNNER_DB"] = str(typo)
    else:
        del program.environment["RUNNER_DB"]
        program.environment["RUNNER_SETTINGS"] = str(program.folder / "settings.toml")
        (program.folder / "settings.toml").write_text(f"db = '{typo}'\n")
        before.append("settings.toml")
    flags = ["--db", str(typo)] if named_by == "flag" else []
    for line in (*ASKING, f"calibrate {tree} --last", "run docs-of-old"):
        if line in EMPTY:
            done = program.quick(*flags, *shlex.split(line))
            assert EMPTY[line] == done.returncode, line
            assert done.returncode or f"note: there is no database at {typo} yet\n".encode() in done.stderr, line
        else:
            assert f"there is no database at {typo}" in program.refused(*flags, *shlex.split(line)), line
        assert sorted(before) == sorted(os.listdir(program.folder)), line
    program.out(*flags, "run", "docs")
    assert 1 == len(program.json(*flags, "history"))


def test_an_unknown_job_is_not_laid_on_a_database_that_is_there(known: Program) -> None:
    for line in ("history nobody", "show 99", "run nobody", "cancel 99"):
        assert "database" not in known.refused(*line.split()), line


def test_what_is_unknown_without_a_database_says_how_one_begins(program: Program) -> None:
    said = f"runner: there is no job 'docs; rm', as there is no database at {program.database} yet; name another with "
    assert f"{said}--db, or begin it with `runner schedule` or `runner run`\n" == program.refused("history", "docs; rm")


def test_the_default_database_answers_a_newcomer(program: Program) -> None:
    del program.environment["RUNNER_DB"]
    program.environment |= {"HOME": str(program.folder), "XDG_DATA_HOME": str(program.folder / "data")}
    assert "no jobs\n" == program.out("jobs")
    assert [] == program.json("history")


def test_an_unreadable_root_is_refused(program: Program) -> None:
    root = program.folder / "closed"
    root.mkdir(mode=0o000)
    done = as_nobody_special(program, "schedule", root, "--every", "1h")
    assert (2, b"", 1) == (done.returncode, done.stdout, done.stderr.count(b"\n"))
    assert b"closed" in done.stderr
    assert not program.database.exists()


def test_an_unwritable_database_is_refused(program: Program) -> None:
    folder = program.folder / "theirs"
    folder.mkdir(mode=0o555)
    done = as_nobody_special(program, "--db", folder / "runner.db", "run", program.folder)
    assert (2, b"", 1) == (done.returncode, done.stdout, done.stderr.count(b"\n"))
    assert b"can't be written" in done.stderr
    program.out("db", "upgrade")
    program.database.chmod(0o444)
    done = as_nobody_special(program, "run", program.folder)
    assert (1, b"", 1) == (done.returncode, done.stdout, done.stderr.count(b"\n"))
    assert b"is read-only" in done.stderr


def test_a_name_that_cannot_be_shown_is_refused(program: Program, tree: Path) -> None:
    for name in (b"a\x1b]0;x\x07", b"caf\xe9", "a\u202eb".encode(), b"a\nb"):
        assert "\x1b" not in program.refused("schedule", tree, "--every", "1h", b"--name", name)


def test_output_that_cannot_be_written_is_one_line(program: Program) -> None:
    program.out("db", "upgrade")
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    for arguments in (["history"], ["history", "--format", "json"], ["--version"]):
        with Path("/dev/full").open("wb") as full:
            done = program.call(*arguments, stdout=full)
        assert (1, 1) == (done.returncode, done.stderr.count(b"\n"))
        assert done.stderr.startswith(b"runner: writing failed")


def test_closed_streams_are_no_defect(program: Program) -> None:
    program.out("db", "upgrade")
    for redirection in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            ["sh", "-c", f"exec '{sys.executable}' -m runner jobs {redirection}"],
            env=program.environment, capture_output=True, check=False,
        )  # fmt: skip
        assert (0, b"") == (done.returncode, done.stderr)
