"""Every command and program that README and documentation show is run, page by page, as a reader would."""

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from conftest import Program
from fenced_blocks import PAGES, ROOT, Block, list_blocks

from runner.cli.main import load_commands

# Commands that other tests run: they take long.
_TESTED_ELSEWHERE = {"demo": "test_demo_and_lesson.py", "lesson": "test_demo_and_lesson.py"}
# Programs that change the machine, need the network or another program's server. Their lines are only parsed.
_NOT_RUN = {
    *("apt", "brew", "createdb", "journalctl", "launchctl", "loginctl", "pip", "pipx", "python3", "source", "sudo"),
    *(
        "psql",
        "pg_dump",
        "systemctl",
        "uv",
        ".venv/bin/pip",
        ".venv/bin/pytest",
        "export",
        "promtool",
        "systemd-analyze",
    ),
}
_LANGUAGES = {"sh", "text", "toml", "python", "sql", "json", "promql"}
_STARTS_EMPTY = {"README.md", "install.md"}
_NEGATIVE_ANSWERS = {"status": 1}  # no daemon runs here
_GENERATED = ROOT / "docs/commands.md"


class Reader:
    """A reader who tries the commands of a page in a scratch directory."""

    def __init__(self, program: Program) -> None:
        self.program = program
        home = program.folder / "home"
        for name in ("notes/.obsidian", "notes/projects"):
            (home / name).mkdir(parents=True)
        (home / "notes/projects/ideas.md").write_text("one\n")
        small = (
            (ROOT / "data/demo.toml")
            .read_text()
            .replace("folders = 40", "folders = 4")
            .replace("[100, 200]", "[20, 30]")
        )
        (program.folder / "small.toml").write_text(small)
        program.environment |= {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        for name in ("CONFIG", "DATA", "STATE", "CACHE"):
            program.environment[f"XDG_{name}_HOME"] = str(home / name.lower())
        program.environment["RUNNER_DB"] = str(home / "runner.db")

    def prepare(self) -> None:
        """Create the job ``directories`` with two runs."""
        for line in (
            "sample directories --recipe small.toml",
            "schedule ./directories --every 1h",
            "run directories",
            "run directories",
        ):
            self.program.out(*line.split())

    def read(self, block: Block) -> None:
        """Run a block, or save it as the file that its title names."""
        if block.title:
            (self.program.folder / block.title).write_text(block.text)
            if block.language == "python" and "sys.stdin" not in block.text:
                self.run(f"python {block.title}")
        elif block.language == "sh":
            for line in _join_lines(block.text):
                self.run(line)
        elif block.language == "sql":
            with sqlite3.connect(self.program.database) as connection:
                connection.execute(block.text)
        elif block.language == "json":
            json.loads(block.text)
        else:
            assert block.language in {"text", "promql"}, f"a {block.language} block needs a title"

    def run(self, line: str) -> None:
        """Run a line of shell."""
        words = shlex.split(line, comments=True)
        if words[0] in _NOT_RUN:
            subprocess.run(["bash", "-n", "-c", line], check=True, timeout=60)
        elif words[0] != "runner" or re.search(r"[|<>&$~]", line):
            _check(self._shell(line), line, 0)
        elif words[1] == "daemon":
            with self.program.daemon(*words[2:]) as daemon:
                assert 0 == daemon.stop(signal.SIGINT)
        elif words[1] in _TESTED_ELSEWHERE:
            assert (ROOT / "tests/cli" / _TESTED_ELSEWHERE[words[1]]).exists()
        else:
            small = ["--recipe", "small.toml"] if words[1] == "sample" and "--recipe" not in words else []
            rounds = ["--rounds", "1"] if words[1] == "calibrate" and "--last" not in words else []
            done = self.program.quick(*words[1:], *small, *rounds)
            _check(done, line, _NEGATIVE_ANSWERS.get(words[1], 0))

    def _shell(self, line: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=self.program.folder,
            env=self.program.environment,
            capture_output=True,
            check=False,
            timeout=60,
        )


def _check(done: subprocess.CompletedProcess[bytes], line: str, expected: int) -> None:
    assert expected == done.returncode, f"{line}\n{done.stderr.decode()}"
    assert b"warning:" not in done.stderr, f"{line}\n{done.stderr.decode()}"


def _join_lines(text: str) -> Iterator[str]:
    """Yield the commands of a block; a backslash continues a line."""
    for line in text.replace("\\\n", "").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line


@pytest.mark.parametrize("page", [page for page in PAGES if page != _GENERATED], ids=lambda page: page.name)
def test_every_command_of_a_page_runs(program: Program, page: Path) -> None:
    reader = Reader(program)
    blocks = list(list_blocks(page))
    if page.name not in _STARTS_EMPTY and any(block.language == "sh" for block in blocks):
        reader.prepare()
    for block in blocks:
        reader.read(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_runnable_or_output(page: Path) -> None:
    blocks = list(list_blocks(page))
    assert {block.language for block in blocks} <= _LANGUAGES
    fences = [line for line in page.read_text().splitlines() if line.lstrip().startswith("```")]
    assert len(fences) == 2 * len(blocks)


def test_the_examples_of_the_reference_are_valid() -> None:
    root = load_commands()
    lines = [line for block in list_blocks(_GENERATED) if block.language == "sh" for line in _join_lines(block.text)]
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
