"""Every command's answers and refusals, as they are kept in ``answers``: the contract with programs that call runner.

The files hold the command lines as well, behind ``$``; those of a file are carried out in their order on a database of
its own. Behind ``!`` stands what went to stderr. ``UPDATE_GOLDEN=1 .venv/bin/pytest tests/golden`` writes them again.
"""

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import time_machine
from conftest import Program, home_environment
from golden_sample import make_postgresql, make_sqlite
from golden_world import compare_golden, furnish, hide_measured, normalise
from postgresql_server import PostgresqlServer

from runner.cli.main import load_commands
from runner.history.database import locate
from runner.history.upgrade import open_database

ANSWERS = Path(__file__).parent / "answers"
NOW = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
# Whose answers hold what they measure.
MEASURING = ("run", "lesson")
# What a file may begin with.
ONLY_ON, EMPTY = "# only on ", "# with an empty database\n"
# Typer's own; they ask which shell called.
COMPLETION = {"--install-completion", "--show-completion"}


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    """Yield each command by its words, with the names of its options, of each the longest."""
    options = {max(option.opts, key=len) for option in command.params if option.opts[0].startswith("-")}
    inner = getattr(command, "commands", {})
    if not inner or options:
        yield " ".join(path), options - COMPLETION
    for name, one in inner.items():
        yield from walk(one, (*path, name))


COMMANDS = dict(walk(load_commands()))


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the sample database as it was, for commands that deal with schemas, and upgraded for all others."""
    folder = tmp_path_factory.mktemp("sample")
    make_sqlite(folder / "db.db")
    shutil.copy(folder / "db.db", folder / "runner.db")
    open_database(locate(str(folder / "runner.db"))).close()
    return folder


@pytest.fixture(scope="session")
def sample_on_server(postgresql: PostgresqlServer) -> PostgresqlServer:
    postgresql.do("CREATE DATABASE golden_db TEMPLATE template0")
    make_postgresql(host=str(postgresql.folder), user="runner", dbname="golden_db")
    postgresql.do("CREATE DATABASE golden_runner TEMPLATE golden_db")
    open_database(locate(postgresql.url("golden_runner"))).close()
    return postgresql


@contextmanager
def program_on(kind: str, name: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Program]:
    """Yield the program in a directory with files, with the sample database or none."""
    empty, version = EMPTY in GOLDEN[name].partition("$ ")[0], "db" if name.startswith("db-") else "runner"
    sample = request.getfixturevalue("sample")
    furnish(folder, sample / "runner.db")
    environment = {**os.environ, **home_environment(folder), "RUNNER_DB": str(folder / "runner.db"), "TZ": "UTC"}
    if kind == "sqlite":
        if not empty:
            shutil.copy(sample / f"{version}.db", folder / "runner.db")
        yield Program(folder=folder, environment=environment)
        return
    server: PostgresqlServer = request.getfixturevalue("sample_on_server")
    with server.fresh("template0" if empty else f"golden_{version}") as database:
        yield Program(folder=folder, environment={**environment, "RUNNER_DB": server.url(database)})


def visible(text: str) -> str:
    """Write what a terminal would not show, or would obey, as escapes."""
    return "".join(
        char if char == "\n" or char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def words_of(line: str) -> list[str]:
    """Split a command line, in which bytes and characters that do not show are escaped as in Python."""
    escaped = re.compile(r"\\(?:n|t|x[0-9a-f]{2}|u[0-9a-f]{4})")
    return [escaped.sub(lambda match: match[0].encode().decode("unicode_escape"), word) for word in shlex.split(line)]


def carried_out(program: Program, line: str) -> str:
    """Run a command line and return it with its output."""
    words = words_of(line)
    settings = dict(word.split("=", 1) for word in takewhile(re.compile("[A-Z_]+=").match, words))
    name, *arguments = words[len(settings) :]
    assert "runner" == name
    done = replace(program, environment={**program.environment, **settings}).quick(*arguments)
    out, err = (stream.decode("utf-8", "surrogateescape") for stream in (done.stdout, done.stderr))
    said = visible(hide_measured(out) if arguments[0] in MEASURING else out)
    assert not re.search("^[$] ", said, re.MULTILINE), "it would be taken for a command line"
    lines = [f"$ {line}", *(said.removesuffix("\n").split("\n") if said else [])]
    if said and not said.endswith("\n"):
        lines.append("\\ no newline at the end")
    lines += [f"! {told}" for told in visible(err.removesuffix("\n")).split("\n")] if err else []
    return "\n".join([*lines, f"exit {done.returncode}", ""])


def lines_in(text: str) -> list[str]:
    return re.findall("^[$] (.*)$", text, re.MULTILINE)


GOLDEN = {path.stem: path.read_text("utf-8") for path in sorted(ANSWERS.iterdir())}
EACH = [
    (kind, name)
    for kind in ("sqlite", "postgresql")
    for name, text in GOLDEN.items()
    if not text.startswith(ONLY_ON) or text.startswith(f"{ONLY_ON}{kind}\n")
]


@pytest.mark.parametrize(("kind", "name"), EACH)
def test_answers_are_the_golden_ones(kind: str, name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    golden = GOLDEN[name]
    head = golden[: golden.index("$ ")]
    with program_on(kind, name, request, tmp_path) as program, time_machine.travel(NOW, tick=False):
        said = [carried_out(program, line) for line in lines_in(golden)]
    text = head + normalise("\n".join(said), tmp_path)
    compare_golden(ANSWERS / f"{name}.txt", text)


def test_every_command_option_and_format_is_asked() -> None:
    forgotten = {}
    for name, options in COMMANDS.items():
        asked = [words_of(line) for line in lines_in(GOLDEN.get(name.replace(" ", "-") or "runner", ""))]
        words = {word.partition("=")[0] for line in asked for word in line}
        formats = {"json", "jsonl", "csv"} if "--format" in options else set()
        forgotten[name] = ({*name.split(), *formats} | options - {"--db"}) - words
    assert {} == {name: words for name, words in forgotten.items() if words}
