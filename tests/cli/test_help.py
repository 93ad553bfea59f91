"""Every command has help with an example."""

import importlib
import re
import sys
from importlib.machinery import SourceFileLoader
from itertools import pairwise

import pytest
from conftest import Program
from rich.console import Console

from runner.cli.commands import CommandGroup, lazy_imports
from runner.cli.main import load_commands


def all_commands() -> list[str]:
    group = load_commands()
    names: list[str] = []
    for name, command in group.commands.items():
        inner = [f"{name} {inner}" for inner in getattr(command, "commands", {})]
        names += inner if inner and not command.invoke_without_command else [name, *inner]
    return names


def test_the_commands_are_those_of_the_design() -> None:
    expected = (
        "schedule jobs edit pause resume remove next run daemon status history show files changes trends regressions "
        "calibrate prune sample lesson demo db.path db.upgrade db.check db.backup jobs.export jobs.apply"
    )
    assert {name.replace(".", " ") for name in expected.split()} <= set(all_commands())


def test_a_summary_is_the_first_paragraph_of_the_help() -> None:
    listed = CommandGroup(name="runner").commands
    loaded = load_commands().commands
    assert {name: command.help.split("\n\n")[0] for name, command in loaded.items()} == {
        name: command.help for name, command in listed.items()
    }


@pytest.mark.parametrize("command", all_commands())
def test_a_command_has_help_with_an_example_that_runner_understands(program: Program, command: str) -> None:
    shown = program.out(*command.split(), "--help")
    assert shown == program.out(*command.split(), "-h")
    assert f"Usage: runner {command}" in shown
    assert re.search(rf"Examples?\s+runner {command}\b", shown)


def test_words_of_other_programs_work(program: Program) -> None:
    assert program.out("--version") == program.out("version")
    assert program.out("--help") == program.out("help")
    assert program.out("jobs", "apply", "--help") == program.out("help", "jobs", "apply")
    assert "[]\n" == program.out("ls", "--json") == program.out("list", "--json")
    assert b"see `runner ls --help`" in program.quick("ls", "--nonsense").stderr


def test_json_is_a_short_form_of_a_format(program: Program) -> None:
    for command in all_commands():
        shown = program.out(*command.split(), "--help")
        assert ("--format" in shown.replace("--format json", "")) is ("--json" in shown), command
    for arguments in (["history", "--json"], ["jobs", "--json", "--format", "json"]):
        assert "[]\n" == program.out(*arguments)
    assert 2 == program.quick("jobs", "-f", "table", "--json").returncode


def test_what_an_edit_does_not_name_is_not_said_to_have_a_default(program: Program) -> None:
    assert "default" not in program.out("edit", "--help")
    assert "*.md" in program.out("schedule", "--help")


def test_help_is_shown_without_a_command(program: Program) -> None:
    done = program.call()
    assert (0, b"") == (done.returncode, done.stderr)
    for panel in ("Jobs", "Running", "Asking", "Trying it out", "Care"):
        assert f"─ {panel} ─" in done.stdout.decode()


@pytest.mark.parametrize("command", ["", *all_commands()])
def test_help_is_broken_into_lines_by_the_terminal_alone(
    program: Program, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(Console, "_environ", {"COLUMNS": "80"})  # which it has from whenever it was imported first
    text, _, options = program.out(*command.split(), "--help").partition("╭")
    lines = [line.strip() for line in text.splitlines()]
    early = [
        line for line, below in pairwise(lines) if line and below and len(f"{line} {below.split()[0]}") <= 80 - 2
    ]  # where two paragraphs meet there is an empty line
    assert [] == early
    assert [] == [line for line in options.splitlines() if re.search(r"--\S*…", line)]


def test_an_interrupt_within_a_lazy_module_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    name = "runner.output.lesson"
    monkeypatch.delitem(sys.modules, name, raising=False)
    with lazy_imports():
        importlib.import_module(name)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(SourceFileLoader, "exec_module", interrupt)
        with pytest.raises(KeyboardInterrupt):
            exec(f"from {name} import lesson_table", {})  # noqa: S102  as modules import each other
    assert callable(importlib.import_module(name).lesson_table)
