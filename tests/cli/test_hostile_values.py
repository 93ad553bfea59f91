"""Hostile values for every number, path, instant and text of every command, found in the tree of commands."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from conftest import Program

from runner.cli.main import app

HUGE = "99999999999999999999999999"
LONG = "x" * 5000
LONG_DIGITS = "9" * 5000
NUMBERS = [
    HUGE,
    f"-{HUGE}",
    LONG_DIGITS,
    str(2**63),
    str(2**63 - 1),
    str(-(2**63)),
    str(2**31),
    "-1",
    "",
    "²",
    "1e9",
    "٣",
]
INSTANTS = [
    *(
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59",
        "0001-01-01",
        "0001-01-01T00:00Z",
    ),
    *("9999-12-31T23:59:59Z", "2026-02-30", "2026-11-22T10:00+99:99", "2026-11-22T10:00+23:59:59.999999", "", LONG),
    *(f"{HUGE}d", "36500d", "999999999999d", f"{LONG_DIGITS}s", "-7d", "\udcff", "٣d", "2026-W01-1", "24:00", "\n"),
]
DURATIONS = ["0s", "36500d", f"{HUGE}d", "999999999999s", f"{LONG_DIGITS}s", "-1h", "", "٣s", "1e9s", LONG, "\udcff"]
PATHS = [
    *(
        "",
        "/",
        ".",
        "..",
        "x" * 256,
        "x" * 250,
        LONG,
        "/" + "x/" * 3000,
        "docs/" + "x" * 256,
        "missing/x",
        "file/x",
        "loop",
    ),
    *("dangling/x", "\udcff", "\n", "~", "~nobody-of-that-name/x", "/proc/self/mem", "/dev/full", "/dev/null", HUGE),
]
TEXTS = ["", LONG, HUGE, f"-{HUGE}", LONG_DIGITS, "\udcff", "²", "\n", "=", "%", f"{LONG_DIGITS}%", "nan%", "[", "\\"]
KINDS = {
    **dict.fromkeys(["WHEN"], INSTANTS),
    **dict.fromkeys(["DURATION", "DURATION|none"], DURATIONS),
    **dict.fromkeys(["PATH|URL", "PATH", "FILE", "DIR", "[DIR]", "FOLDER", "NAME|FILE", "ZONE", "DIR|JOB"], PATHS),
    **dict.fromkeys(["N", "RUN", "N|auto", "JOB", "[JOB]"], NUMBERS),
}
# What a command needs before it looks at a value.
NEEDED = {"DIR": "docs", "DIR|JOB": "docs", "JOB": "docs", "RUN": "1", "FILE": "jobs.toml"}
# These do not end, take long, or create much where a value is accepted.
EXPENSIVE = {"calibrate", "lesson", "demo", "sample"}


def commands() -> Iterator[tuple[str, Any]]:
    def walk(group: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from walk(command, (*words, name))
            if not hasattr(command, "commands") or command.invoke_without_command:
                yield " ".join((*words, name)), command

    yield from walk(typer.main.get_group(app), ())


COMMANDS = dict(commands())


def kind_of(parameter: Any) -> str:
    metavar = parameter.metavar or ""
    if metavar not in KINDS and "int" in type(parameter.type).__name__.lower():
        return "N"
    return metavar


def values_for(name: str, parameter: Any) -> list[str]:
    values = KINDS.get(kind_of(parameter), TEXTS)
    if name in EXPENSIVE and kind_of(parameter) == "N":
        return [HUGE, f"-{HUGE}", LONG_DIGITS, "-1", "", "²", str(parameter.type.max + 1)]
    if parameter.metavar == "PATH|URL" and name != "jobs":  # the same option everywhere
        return ["", "/", "x" * 250, LONG, "loop", "/dev/full", "\udcff"]
    if parameter.metavar == "DIR|JOB":
        return [value for value in values if value not in {"/", "..", "."}]  # these would be scanned
    if name in EXPENSIVE and parameter.metavar == "GLOB":
        return ["", "a/b"]
    if name in EXPENSIVE:
        return [LONG, "x" * 256, "/" + "x/" * 3000, "file/x", "loop", "", "/dev/null", "/dev/full"]
    return values


def lines_for(name: str) -> Iterator[list[str]]:
    command = COMMANDS[name]
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    needed = {one.name: NEEDED[one.metavar] for one in arguments if one.required}
    for parameter in command.params:
        if getattr(parameter, "is_flag", False) or hasattr(parameter.type, "choices"):
            continue
        for value in values_for(name, parameter):
            given = dict(needed)
            options = ["--every=1h"] if name == "schedule" else ["--keep=1"] if name == "prune" else []
            if parameter.param_type_name == "argument":
                given[parameter.name] = value
            else:
                kind = parameter.opts[0] in {"--every", "--cron", "--at"}
                options = [*([] if kind else options), f"{parameter.opts[0]}={value}"]
                if parameter.opts[0] == "--path":
                    options.append("--history")
                if parameter.opts[0] == "--depth":
                    options.append("--by-folder")
            yield [*name.split(), *options, "--", *given.values()]


@pytest.fixture
def hostile(program: Program, tree: Path) -> Program:
    """Return a program with a job that has a run, and things that are no database."""
    program.environment["COLUMNS"] = "100"
    (program.folder / "file").write_text("text, not SQLite, and longer than its header of a hundred bytes\n" * 3)
    (program.folder / "loop").symlink_to("loop")
    (program.folder / "dangling").symlink_to("nowhere")
    (program.folder / "jobs.toml").write_text(f"[jobs.third]\nroot = '{tree}'\n")
    program.out("schedule", tree, "--every", "1h", "--strategy", "sequential")
    program.out("run", "docs")
    return program


def check(done: subprocess.CompletedProcess[bytes], line: list[str]) -> None:
    shown = [word if len(word) < 300 else f"{word[:20]}…({len(word)})" for word in line]
    assert done.returncode in {0, 1, 2}, (shown, done.stderr[-2000:])
    assert b"Traceback" not in done.stderr, shown
    assert b"defect" not in done.stderr, shown
    assert b"None" not in done.stderr, (shown, done.stderr[-2000:])
    if done.returncode == 2:
        assert 1 == sum(not part.startswith((b"note:", b"warning:")) for part in done.stderr.splitlines()), done.stderr


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "daemon"])
def test_hostile_values_are_answered_or_refused(hostile: Program, name: str) -> None:
    if name.startswith("service"):
        hostile.environment["PATH"] = str(hostile.folder)  # no service manager
    copy = hostile.folder / "copy.db"
    hostile.out("db", "backup", copy)
    for line in lines_for(name):
        began = time.monotonic()
        done = hostile.quick(*map(os.fsencode, line))
        check(done, line)
        assert time.monotonic() - began < 10, line
        if name in {"remove", "edit", "prune", "pause", "jobs apply"}:
            shutil.copy(copy, hostile.database)


@pytest.mark.parametrize("option", ["--metrics-file", "--db"])
def test_hostile_paths_of_the_daemon(hostile: Program, option: str) -> None:
    with hostile.daemon():  # so that what is accepted ends
        for path in PATHS:
            line = ["daemon", f"{option}={path}"]
            if option == "--db" and path in {"\n", "\udcff", HUGE, "x" * 250, "~"}:
                continue  # files that would be created
            check(hostile.quick(*map(os.fsencode, line)), line)


# Those in the second part need no directory.
DELETED = [
    *("run .", "schedule . --every 1h", "calibrate .", "jobs apply -", "jobs apply jobs.toml", "--db x.db jobs"),
    *("jobs --db x.db", "history --db ../x.db", "daemon --metrics-file m.prom", "daemon --db x.db", "run x", "run ./x"),
    *("db path --db x.db", "service print --db x.db", "schedule x --every 1h", "db upgrade --db x.db", "status --db x"),
]
DETACHED = [
    "files docs",
    "edit docs --every 2h",
    "--help",
    "next",
    "status",
    "sample new",
    "lesson .",
    "db backup copy.db",
]
IN_DELETED = """
import json, os, sys
from runner.__main__ import main
lines = json.loads(sys.argv[1])
os.mkdir("gone")
os.chdir("gone")
os.rmdir("../gone")
for line in lines:
    sys.argv[1:] = line.split()
    saved = dict(os.environ)
    try:
        main()
    except SystemExit as ended:
        sys.stderr.write(f"code {ended.code}\\n")
    os.environ.clear()
    os.environ.update(saved)
"""


@pytest.mark.parametrize("named", ["", "x.db"])
def test_a_deleted_working_directory_is_reported(hostile: Program, named: str) -> None:
    if named:
        hostile.environment["RUNNER_DB"] = named
    lines = ["history", "run docs", "db path"] if named else [*DELETED, *DETACHED]
    done = subprocess.run(
        [sys.executable, "-c", IN_DELETED, json.dumps(lines)],
        env=hostile.environment, capture_output=True, check=False, timeout=100, cwd=hostile.folder, input=b"",
    )  # fmt: skip
    *told, rest = done.stderr.decode().split("code ")
    codes = [int(part[0]) for part in [*told[1:], rest]]
    assert len(lines) == len(codes), done.stderr
    for line, code, text in zip(lines, codes, told, strict=True):
        assert code in {0, 1, 2}, (line, text)
        if line not in DETACHED:
            assert (2, True) == (code, "the working directory has been deleted" in text), (line, text)


@pytest.mark.parametrize("value", ["999999999", HUGE, LONG_DIGITS, "0", "-1", "²", "1", "", "x"])
def test_the_width_of_the_terminal_is_bounded(hostile: Program, value: str) -> None:
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):
        hostile.environment[name] = value
    for line in ("trends docs", "history", "show 1", "--help", "schedule --help", "jobs"):
        start = hostile.call if line == "--help" else hostile.quick  # Typer reads one of them when it is imported
        done = start(*line.split())
        assert 0 == done.returncode, done.stderr[-1000:]
        assert len(done.stdout) < 1_000_000


@pytest.mark.parametrize(
    "entries",
    [
        *(f"every = '1h'\nanchor = {at}" for at in ("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00")),
        *(f"at = {at}" for at in ("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "9999-12-31", "10:00:00")),
        *(f"at = {at}" for at in ("0001-01-01", "9999-12-31T23:59:59", "'9999-12-31T23:59:59-14:00'", "1", "nan")),
        *(f"every = '1h'\nanchor = {at}" for at in ("1969-12-31T23:59:59Z", "2026-01-01", "nan", "inf", HUGE, "''")),
        *(
            f"{key} = {value}"
            for key in ("workers", "retries")
            for value in (HUGE, "-1", "nan", "1e400", "'1'", "true")
        ),
        f"workers = {LONG_DIGITS}",
        f"retries = 0x{'f' * 5000}",
        *(f"{key} = '{HUGE}d'" for key in ("every", "timeout", "full_every", "retry_delay")),
        *(f"every = '1h'\njitter = {value}" for value in (f"'{HUGE}s'", "1", "inf", "''")),
        *(f"every = '1h'\ntimezone = {value}" for value in (f"'{LONG}'", "'/'", "'~'", "1", "''", "'JST-99'")),
        *(f"cron = {value}" for value in (f"'{LONG_DIGITS} * * * *'", f"'*/{HUGE} * * * *'", "''", "[]", "1")),
        *(f"patterns = {value}" for value in (f"['{LONG}']", "[1]", "['']", "[[]]", "'*'", "[{base64 = '!'}]")),
        "excludes = " + "[" * 5000 + "]" * 5000,
    ],
)
def test_hostile_job_files_are_refused(hostile: Program, entries: str) -> None:
    file = hostile.folder / "hostile.toml"
    file.write_text(f"[jobs.bad]\nroot = 'docs'\n{entries}\n")
    for line in (["jobs", "apply", "hostile.toml", "--dry-run"], ["jobs", "apply", "hostile.toml"]):
        check(hostile.quick(*line), line)


@pytest.mark.parametrize("root", [*PATHS, "a\\u0000b"])
def test_hostile_roots_in_job_files_are_refused(hostile: Program, root: str) -> None:
    file = hostile.folder / "hostile.toml"
    text = root.replace("\n", "\\n").replace("\udcff", "\\ud")
    file.write_text(f'[jobs.bad]\nroot = "{text}"\n', errors="replace")
    check(hostile.quick("jobs", "apply", "hostile.toml", "--dry-run"), ["jobs", "apply"])


@pytest.mark.parametrize("key", ["db", "metrics_file", "retain_for", "retain_runs", "runs_at_once", "start_method"])
def test_hostile_settings_are_refused(hostile: Program, key: str) -> None:
    settings = hostile.folder / "settings.toml"
    hostile.environment["RUNNER_SETTINGS"] = str(settings)
    del hostile.environment["RUNNER_DB"]
    values = [HUGE, LONG_DIGITS, "-1", "nan", "''", f"'{LONG}'", "'/'", "'file/x'", f"'{HUGE}d'", "9999-12-31", "[]"]
    for value in values:
        settings.write_text(f"{key} = {value}\n")
        database = ["--db", str(hostile.folder / "runner.db")] if key != "db" else []
        check(hostile.quick("jobs", *database), [key, value])


def test_hostile_paths_of_the_settings_are_refused(hostile: Program) -> None:
    for path in PATHS:
        hostile.environment["RUNNER_SETTINGS"] = path
        check(hostile.quick("jobs"), [path])
