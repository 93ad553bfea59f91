"""Hostile values for every number, path, instant and text of every command, found in the tree of commands.

Each parameter gets the next few values of its kind: all values and all parameters are tried, but not each pair.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Program

from runner.cli.main import load_commands

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
    *("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59", "0001-01-01", "2026-02-30"),
    *("0001-01-01T00:00Z", "9999-12-31T23:59:59Z", "2026-11-22T10:00+99:99", "2026-11-22T10:00+23:59:59.999999", "\n"),
    *(f"{HUGE}d", "36500d", "999999999999d", f"{LONG_DIGITS}s", "-7d", "\udcff", "٣d", "2026-W01-1", "24:00", "", LONG),
]
DURATIONS = ["0s", "36500d", f"{HUGE}d", "999999999999s", f"{LONG_DIGITS}s", "-1h", "", "٣s", "1e9s", LONG, "\udcff"]
PATHS = [
    *("", "/", ".", "..", "x" * 256, "x" * 250, LONG, "/" + "x/" * 3000, "docs/" + "x" * 256, "missing/x", "file/x"),
    *("loop", "dangling/x", "\udcff", "\n", "~", "~nobody-of-that-name/x", "/proc/self/mem", "/dev/full", "/dev/null"),
    HUGE,
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
# Options that make a value matter; no machine has the address, so that the server does not start.
OPTIONS = {"schedule": ["--every=1h"], "prune": ["--keep=1"], "web": ["--host=192.0.2.1"]}
# These do not end, take long, or create much where a value is accepted.
EXPENSIVE = {"calibrate", "lesson", "demo", "sample"}
EACH = 4
MANY = {"WHEN", "DURATION", "PATH|URL", "N", "JOB", "[JOB]"}  # kinds of many parameters


def commands() -> Iterator[tuple[str, Any]]:
    def walk(group: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from walk(command, (*words, name))
            if not hasattr(command, "commands") or command.invoke_without_command:
                yield " ".join((*words, name)), command

    yield from walk(load_commands(), ())


COMMANDS = dict(commands())


def kind_of(parameter: Any) -> str:
    metavar = parameter.metavar or ""
    if metavar not in KINDS and "int" in type(parameter.type).__name__.lower():
        return "N"
    return metavar


def values_for(name: str, parameter: Any) -> list[str]:
    kind = kind_of(parameter)
    if name in EXPENSIVE:  # only values that are refused
        refused = {
            "N": [HUGE, f"-{HUGE}", LONG_DIGITS, "-1", "", "²"],
            "PATH|URL": ["", "/", "loop", "/dev/full"],
            "GLOB": [""],
        }
        return refused.get(kind, [LONG, "x" * 256, "/" + "x/" * 3000, "file/x", "loop", "", "/dev/null", "/dev/full"])
    if kind == "PATH|URL" and name != "jobs":  # the same option everywhere
        return ["", "/", "x" * 250, LONG, "loop", "/dev/full", "\udcff"]
    scanned = {"/", "..", "."} if kind == "DIR|JOB" else set()
    return [value for value in KINDS.get(kind, TEXTS) if value not in scanned]


def lines_for(name: str, taken: Counter[str]) -> Iterator[list[str]]:
    command = COMMANDS[name]
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    needed = {one.name: NEEDED[one.metavar] for one in arguments if one.required}
    for parameter in command.params:
        if getattr(parameter, "is_flag", False) or hasattr(parameter.type, "choices"):
            continue
        kind, values = kind_of(parameter), values_for(name, parameter)
        for number in range(taken[kind], taken[kind] + min(EACH, len(values))):
            value = values[number % len(values)]
            given = dict(needed)
            options = OPTIONS.get(name, [])
            if parameter.param_type_name == "argument":
                given[parameter.name] = value
            else:
                own = parameter.opts[0] in {"--every", "--cron", "--at", "--host"}
                options = [*([] if own else options), f"{parameter.opts[0]}={value}"]
                options += {"--path": ["--history"], "--depth": ["--by-folder"]}.get(parameter.opts[0], [])
            yield [*name.split(), *options, "--", *given.values()]
        taken[kind] += EACH


TAKEN: Counter[str] = Counter()
LINES = {name: list(lines_for(name, TAKEN)) for name in COMMANDS if name != "daemon"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Return a program with a job that has a run, and files that are not databases."""
    folder = tmp_path_factory.mktemp("hostile")
    environment = {**os.environ, "RUNNER_DB": str(folder / "runner.db"), "COLUMNS": "100"}
    program = Program(folder=folder, environment=environment)
    (folder / "docs").mkdir()
    (folder / "docs" / "a.md").write_text("a\n")
    (folder / "file").write_text("text, not SQLite, and longer than its header of a hundred bytes\n" * 3)
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "jobs.toml").write_text(f"[jobs.third]\nroot = '{folder}/docs'\n")
    program.out("schedule", folder / "docs", "--every", "1h", "--strategy", "sequential")
    program.out("run", "docs")
    program.out("db", "backup", folder / "copy.db")
    return program


@pytest.fixture
def hostile(template: Program, tmp_path: Path) -> Program:
    """Return a copy of the template; its job still scans the template's directory."""
    shutil.copytree(template.folder, tmp_path / "here", symlinks=True)
    environment = {**template.environment, "RUNNER_DB": str(tmp_path / "here" / "runner.db")}
    return Program(folder=tmp_path / "here", environment=environment)


def check(done: subprocess.CompletedProcess[bytes], line: list[str]) -> None:
    shown = [word if len(word) < 300 else f"{word[:20]}…({len(word)})" for word in line]
    assert done.returncode in {0, 1, 2}, (shown, done.stderr[-2000:])
    assert b"Traceback" not in done.stderr, shown
    assert b"defect" not in done.stderr, shown
    assert b"None" not in done.stderr, (shown, done.stderr[-2000:])
    if done.returncode == 2:
        assert 1 == sum(not part.startswith((b"note:", b"warning:")) for part in done.stderr.splitlines()), done.stderr


def test_every_value_is_tried() -> None:
    assert all(count >= len(KINDS.get(kind, TEXTS)) for kind, count in TAKEN.items() if kind in MANY)
    assert {*COMMANDS} - {"daemon", "service uninstall"} == {name for name, lines in LINES.items() if lines}


@pytest.mark.parametrize("name", LINES)
def test_hostile_values_are_answered_or_refused(hostile: Program, name: str) -> None:
    if name.startswith("service"):
        hostile.environment["PATH"] = str(hostile.folder)  # no service manager
    for line in LINES[name]:
        began = time.monotonic()
        done = hostile.quick(*map(os.fsencode, line))
        check(done, line)
        assert time.monotonic() - began < 10, line
        if name in {"remove", "edit", "prune", "pause", "jobs apply"}:
            shutil.copy(hostile.folder / "copy.db", hostile.database)


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
    *("files docs", "edit docs --every 2h", "--help", "next", "status", "sample new", "lesson .", "db backup copy.db")
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


def test_the_width_of_the_terminal_is_bounded(hostile: Program) -> None:
    for value in ("999999999", HUGE, LONG_DIGITS, "0", "-1", "²", "1", "", "x"):
        for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):
            hostile.environment[name] = value
        for line in ("trends docs", "history", "show 1", "schedule --help", "jobs"):
            assert len(hostile.out(*line.split())) < 1_000_000
        if value in {"999999999", "²", "1"}:  # Rich has its width from when it was imported
            assert 0 < len(hostile.call("--help").stdout) < 1_000_000


ENTRIES = [
    *(f"every = '1h'\nanchor = {at}" for at in ("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00")),
    *(f"at = {at}" for at in ("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "9999-12-31", "10:00:00")),
    *(f"at = {at}" for at in ("0001-01-01", "9999-12-31T23:59:59", "'9999-12-31T23:59:59-14:00'", "1", "nan")),
    *(f"every = '1h'\nanchor = {at}" for at in ("1969-12-31T23:59:59Z", "2026-01-01", "nan", "inf", HUGE, "''")),
    *(f"{key} = {value}" for key in ("workers", "retries") for value in (HUGE, "-1", "nan", "1e400", "'1'", "true")),
    f"workers = {LONG_DIGITS}",
    f"retries = 0x{'f' * 5000}",
    *(f"{key} = '{HUGE}d'" for key in ("every", "timeout", "full_every", "retry_delay")),
    *(f"every = '1h'\njitter = {value}" for value in (f"'{HUGE}s'", "1", "inf", "''")),
    *(f"every = '1h'\ntimezone = {value}" for value in (f"'{LONG}'", "'/'", "'~'", "1", "''", "'JST-99'")),
    *(f"cron = {value}" for value in (f"'{LONG_DIGITS} * * * *'", f"'*/{HUGE} * * * *'", "''", "[]", "1")),
    *(f"patterns = {value}" for value in (f"['{LONG}']", "[1]", "['']", "[[]]", "'*'", "[{base64 = '!'}]")),
    "excludes = " + "[" * 5000 + "]" * 5000,
]


def test_hostile_job_files_are_refused(hostile: Program) -> None:
    roots = [root.replace("\n", "\\n").replace("\udcff", "\\ud") for root in (*PATHS, "a\\u0000b")]
    for number, entries in enumerate(
        [*(f"root = 'docs'\n{one}" for one in ENTRIES), *(f'root = "{one}"' for one in roots)]
    ):
        (hostile.folder / "hostile.toml").write_text(f"[jobs.bad]\n{entries}\n", errors="replace")
        dry_run = ["--dry-run"] if number % 2 or "docs" not in entries else []
        check(hostile.quick("jobs", "apply", "hostile.toml", *dry_run), [entries])


def test_hostile_paths_of_the_settings_are_refused(hostile: Program) -> None:
    for path in PATHS:
        hostile.environment["RUNNER_SETTINGS"] = path
        check(hostile.quick("jobs"), [path])


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
