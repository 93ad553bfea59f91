"""Every command of the README runs, in a scratch folder, one after the other."""

import re
import shlex
from pathlib import Path

import pytest
from conftest import Program

ROOT = Path(__file__).parents[2]
# What is tried elsewhere, by tests of its own, as it goes on for long or sets up this very environment.
ELSEWHERE = {"daemon": "test_daemon_process.py", "demo": "test_demo_and_lesson.py", "lesson": "test_demo_and_lesson.py"}


def readme_commands() -> list[list[list[str]]]:
    """List the words of each ``runner …`` line in the README's indented blocks: those of its summary, then the rest."""
    text = (ROOT / "README.md").read_text()
    blocks = [re.findall(r"^ {4}(runner .*)$", part, re.MULTILINE) for part in text.split("\n## ", 1)]
    return [[shlex.split(line.partition(" | ")[0], comments=True) for line in lines] for lines in blocks]


def test_the_readme_begins_with_the_three_commands() -> None:
    assert ["schedule", "daemon", "history"] == [words[1] for words in readme_commands()[0]]


@pytest.mark.parametrize("part", [0, 1], ids=["summary", "rest"])
def test_every_command_of_the_readme_runs(program: Program, subtests: pytest.Subtests, part: int) -> None:
    if part == 0:
        (program.folder / "directories").mkdir()  # the summary takes it as given
    tested = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    for words in readme_commands()[part]:
        with subtests.test(" ".join(words)):
            name, *arguments = words[1:]
            target = program.folder / arguments.pop() if ">" in arguments else None
            arguments = [argument for argument in arguments if argument != ">"]
            if name in ELSEWHERE:
                assert ELSEWHERE[name] in tested
                continue
            if name == "sample" and "--recipe" not in arguments:
                arguments += ["--recipe", "demo"]  # a tenth of the lesson's
            done = program.quick(name, *arguments)
            expected = 1 if name == "status" else 0  # no daemon runs here
            assert expected == done.returncode, done.stderr.decode()
            if target is not None:
                target.write_bytes(done.stdout)
            if name == "schedule":
                program.out("run", str(program.json("jobs")[-1]["number"]))  # as the daemon would


def test_the_two_set_up_commands_stand_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert "python3 -m venv .venv && .venv/bin/pip install --quiet . && .venv/bin/runner demo" in text
    assert "python3 -m venv .venv && .venv/bin/pip install --quiet --editable '.[dev]' && .venv/bin/pytest" in text
