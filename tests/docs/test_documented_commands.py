"""Every command and program that README and documentation show is run, page by page, as a reader would."""

import json
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from conftest import Program, home_environment

from runner.cli.main import load_commands

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Its commands stay in the foreground; test_cluster_page.py runs them.
_CLUSTER = ROOT / "docs/cluster.md"
# Commands that other tests run: they take long.
_TESTED_ELSEWHERE = {"demo": "test_demo_and_lesson.py", "lesson": "test_demo_and_lesson.py"}
# Programs that change the machine, need the network or another program's server. Their lines are only parsed.
_NOT_RUN = re.compile(
    r"apt|brew|createdb|export|journalctl|launchctl|loginctl|pg_dump|pipx?|promtool|psql|python3|source|sudo|systemctl"
    r"|systemd-analyze|uv|\.venv/bin/(pip|pytest)"
)
_LANGUAGES = {"sh", "text", "toml", "python", "sql", "json", "promql"}
_STARTS_EMPTY = {"README.md", "install.md"}
_NEGATIVE_ANSWERS = {"status": 1}  # no daemon runs here
_GENERATED = ROOT / "docs/commands.md"


def list_blocks(page: Path) -> list[tuple[str, str, str]]:
    """List the fenced blocks of a page: language, title (the file that a reader saves it as), and text."""
    pattern = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
    return pattern.findall(page.read_text())


class Reader:
    """A reader who tries the commands of a page in a scratch directory."""

    def __init__(self, program: Program) -> None:
        self.program = program
        home = program.folder / "home"
        for name in ("notes/.obsidian", "notes/projects"):
            (home / name).mkdir(parents=True)
        (home / "notes/projects/ideas.md").write_text("one\n")
        recipe = (ROOT / "data/demo.toml").read_text()
        recipe = recipe.replace("folders = 40", "folders = 4").replace("[100, 200]", "[20, 30]")
        (program.folder / "small.toml").write_text(recipe)
        program.environment |= home_environment(home)
        program.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        program.environment["RUNNER_DB"] = str(home / "runner.db")

    def prepare(self) -> None:
        """Create the job ``directories`` with two runs."""
        runs = ("run directories",) * 2
        for line in ("sample directories --recipe small.toml", "schedule ./directories --every 1h", *runs):
            self.program.out(*line.split())

    def read(self, language: str, title: str, text: str) -> None:
        """Run a block, or save it as the file that its title names."""
        if title:
            (self.program.folder / title).write_text(text)
            if language == "python" and "sys.stdin" not in text:
                self.run(f"python {title}")
        elif language == "sh":
            for line in _join_lines(text):
                self.run(line)
        elif language == "sql":
            with sqlite3.connect(self.program.database) as connection:
                connection.execute(text)
        elif language == "json":
            json.loads(text)
        else:
            assert language in {"text", "promql"}, f"a {language} block needs a title"

    def run(self, line: str) -> None:
        """Run a line of shell."""
        words = shlex.split(line, comments=True)
        if _NOT_RUN.fullmatch(words[0]):
            subprocess.run(["bash", "-n", "-c", line], check=True, timeout=60)
        elif words[0] != "runner" or re.search(r"[|<>&$~]", line):
            where: Any = {"cwd": self.program.folder, "env": self.program.environment, "timeout": 60}
            command = ["bash", "-euo", "pipefail", "-c", line]
            _check(subprocess.run(command, capture_output=True, check=False, **where), line, 0)
        elif words[1] == "daemon":
            with self.program.daemon(
                *re.sub(r"(--web) \d+", rf"\1 {_free_port()}", " ".join(words[2:])).split()
            ) as daemon:
                assert 0 == daemon.stop(signal.SIGINT)
        elif words[1] == "web":
            self.program.environment["BROWSER"] = "true"
            with self.program.start(*words[1:], "--port", "0", stderr=subprocess.PIPE) as web:
                assert web.stderr is not None
                assert web.stderr.readline().startswith(b"serving http://127.0.0.1:")
                web.send_signal(signal.SIGTERM)
            assert 0 == web.returncode
        elif words[1] in _TESTED_ELSEWHERE:
            assert (ROOT / "tests/cli" / _TESTED_ELSEWHERE[words[1]]).exists()
        else:
            small = ["--recipe", "small.toml"] if words[1] == "sample" and "--recipe" not in words else []
            rounds = ["--rounds", "1"] if words[1] == "calibrate" and "--last" not in words else []
            done = self.program.quick(*words[1:], *small, *rounds)
            _check(done, line, _NEGATIVE_ANSWERS.get(words[1], 0))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _check(done: subprocess.CompletedProcess[bytes], line: str, expected: int) -> None:
    assert expected == done.returncode, f"{line}\n{done.stderr.decode()}"
    assert b"warning:" not in done.stderr, f"{line}\n{done.stderr.decode()}"


def _join_lines(text: str) -> Iterator[str]:
    """Yield the commands of a block; a backslash continues a line."""
    for line in text.replace("\\\n", "").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page not in {_GENERATED, _CLUSTER}], ids=lambda page: page.name
)
def test_every_command_of_a_page_runs(program: Program, page: Path) -> None:
    reader = Reader(program)
    blocks = list_blocks(page)
    if page.name not in _STARTS_EMPTY and any(language == "sh" for language, *_ in blocks):
        reader.prepare()
    for block in blocks:
        reader.read(*block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_runnable_or_output(page: Path) -> None:
    blocks = list_blocks(page)
    assert {language for language, *_ in blocks} <= _LANGUAGES
    fences = [line for line in page.read_text().splitlines() if line.lstrip().startswith("```")]
    assert len(fences) == 2 * len(blocks)


def test_the_examples_of_the_reference_are_valid() -> None:
    root = load_commands()
    lines = [line for language, _, text in list_blocks(_GENERATED) if language == "sh" for line in _join_lines(text)]
    for line in lines:
        arguments = shlex.split(re.split(r" (?:\||>|&&) ", re.sub(r"\$\([^)]*\)", "", line))[0])[1:]
        command, context = root, typer.Context(root, info_name="runner")
        while arguments and (inner := getattr(command, "commands", {}).get(arguments[0])):
            command, context = inner, typer.Context(inner, info_name=arguments.pop(0), parent=context)
        command.make_context(context.info_name, arguments, parent=context.parent)
    assert len(lines) > 30


def test_the_installation_commands_are_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert (
        "\n    python3 -m venv .venv && .venv/bin/pip install --quiet --editable '.[dev]' && .venv/bin/pytest\n" in text
    )
    assert len(text.splitlines()) <= 250
