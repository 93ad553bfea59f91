"""Every command's answers and refusals, as they are kept in ``answers``: the contract with programs that call runner.

``UPDATE_GOLDEN=1 .venv/bin/pytest tests/golden`` writes them anew; what then differs belongs into the changelog.
"""

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from difflib import unified_diff
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import pytest
import time_machine
import typer
from cases import CASES, Cases
from conftest import Program
from postgresql_server import PostgresqlServer
from sample import make_postgresql, make_sqlite
from world import furnish, hide_measured, normalise

from runner.cli.main import app

ANSWERS = Path(__file__).parent / "answers"
UPDATING = bool(os.environ.get("UPDATE_GOLDEN"))
NOW = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
FORMATS = ("json", "jsonl", "csv")
# Whose answers hold what they measure.
MEASURING = ("run", "lesson")


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    """Yield each command by its words, with its options."""
    options = {max(option.opts, key=len) for option in command.params if option.opts[0].startswith("-")}
    inner = getattr(command, "commands", {})
    if not inner or options:
        yield " ".join(path), options
    for name, one in inner.items():
        yield from walk(one, (*path, name))


COMMANDS = dict(walk(typer.main.get_command(app)))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "runner.db"
    make_sqlite(path)
    return path


@pytest.fixture(scope="module")
def sample_on_server(postgresql: PostgresqlServer) -> PostgresqlServer:
    postgresql.do("CREATE DATABASE golden TEMPLATE template0")
    make_postgresql(host=str(postgresql.folder), user="runner", dbname="golden")
    return postgresql


@contextmanager
def program_on(kind: str, cases: Cases, request: pytest.FixtureRequest, folder: Path) -> Iterator[Program]:
    """Give the program in a furnished folder, with a database as the cases want it."""
    sample = request.getfixturevalue("sample")
    furnish(folder, sample)
    environment = {**os.environ, "RUNNER_DB": str(folder / "runner.db"), "HOME": str(folder), "TZ": "UTC"}
    for name in ("CONFIG", "DATA", "STATE", "CACHE"):
        environment[f"XDG_{name}_HOME"] = str(folder / name.lower())
    if kind == "sqlite":
        if not cases.empty:
            shutil.copy(sample, folder)
        yield Program(folder=folder, environment=environment)
        return
    server: PostgresqlServer = request.getfixturevalue("sample_on_server")
    with server.fresh("template0" if cases.empty else "golden") as name:
        yield Program(folder=folder, environment={**environment, "RUNNER_DB": server.url(name)})


def asked(line: str) -> Iterator[list[str]]:
    """Yield the arguments of a line, in each stable format if it has formats and names none."""
    words = shlex.split(line)
    command = max((name for name in COMMANDS if line == name or line.startswith(f"{name} ")), key=len, default="")
    if "--format" not in COMMANDS[command] or {"--format", "-0", "--null"} & set(words):
        yield words
    else:
        yield from ([*words, "--format", fmt] for fmt in FORMATS)


def visible(text: str) -> str:
    """Write what a terminal would not show, or would obey, as escapes."""
    return "".join(
        char if char == "\n" or char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def carried_out(program: Program, words: list[str], *, measuring: bool) -> str:
    """Carry out a command and give it with all that it said."""
    settings = dict(word.split("=", 1) for word in takewhile(re.compile("[A-Z_]+=").match, words))
    arguments = words[len(settings) :]
    done = replace(program, environment={**program.environment, **settings}).quick(*arguments)
    out, err = (stream.decode("utf-8", "surrogateescape") for stream in (done.stdout, done.stderr))
    said = visible(hide_measured(out) if measuring else out)
    line = [*words[: len(settings)], "runner", *arguments]
    lines = [f"$ {visible(shlex.join(line))}".replace("\n", "\\n")]
    lines += said.removesuffix("\n").split("\n") if said else []
    if said and not said.endswith("\n"):
        lines.append("\\ no newline at the end")
    lines += [f"! {line}" for line in visible(err.removesuffix("\n")).split("\n")] if err else []
    return "\n".join([*lines, f"exit {done.returncode}", ""])


def golden_path(name: str) -> Path:
    return ANSWERS / f"{re.sub('[ ,]+', '-', name) or 'runner'}.txt"


KINDS_AND_NAMES = [(kind, name) for kind in ("sqlite", "postgresql") for name in CASES if kind in CASES[name].on]


@pytest.mark.parametrize(("kind", "name"), KINDS_AND_NAMES)
def test_answers_are_the_golden_ones(kind: str, name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    cases = CASES[name]
    commands = [words for line in cases.answered for words in asked(line)] + [*map(shlex.split, cases.refused)]
    with program_on(kind, cases, request, tmp_path) as program, time_machine.travel(NOW, tick=False):
        said = [carried_out(program, words, measuring=words[0] in MEASURING) for words in commands]
    text = normalise("\n".join(said), tmp_path)
    path = golden_path(name)
    if UPDATING:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    golden = path.read_text("utf-8")
    if text != golden:
        differences = unified_diff(golden.split("\n"), text.split("\n"), str(path), "what is answered", n=2, lineterm="")
        pytest.fail("\n".join(islice(differences, 60)), pytrace=False)


def test_every_command_and_option_is_asked() -> None:
    assert {name.partition(",")[0] for name in CASES} == {*COMMANDS}
    forgotten = {}
    for name, options in COMMANDS.items():
        lines = [line for cases in CASES.values() for line in (*cases.answered, *cases.refused)]
        words = {word.partition("=")[0] for line in lines if line.startswith(name) for word in shlex.split(line)}
        unasked = options - words - {*CASES[name].unasked, "--db", "--format"}
        if unasked:
            forgotten[name] = unasked
    assert {} == forgotten


def test_no_golden_file_is_left_over() -> None:
    assert {*map(golden_path, CASES)} == {*ANSWERS.iterdir()}
