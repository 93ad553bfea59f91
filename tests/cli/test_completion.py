"""Shell completion."""

import pytest
from conftest import Program


@pytest.mark.parametrize(
    ("words", "expected"),
    [("runner hi", "history"), ("runner history --sta", "--status"), ("runner db che", "check"),
     ("runner history --format js", "jsonl")],
)  # fmt: skip
def test_bash_gets_candidates(program: Program, words: str, expected: str) -> None:
    protocol = {"_RUNNER_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = program.call(env=program.environment | protocol)
    assert expected in done.stdout.decode().split()


def test_bash_gets_the_names_of_jobs(program: Program) -> None:
    (program.folder / "docs").mkdir()
    program.out("schedule", program.folder / "docs", "--every", "1h")
    protocol = {"_RUNNER_COMPLETE": "complete_bash", "COMP_WORDS": "runner history do", "COMP_CWORD": "2"}
    assert ["docs"] == program.call(env=program.environment | protocol).stdout.decode().split()


def test_a_database_that_can_not_be_used_completes_to_nothing(program: Program) -> None:
    protocol = {"_RUNNER_COMPLETE": "complete_bash", "COMP_WORDS": "runner history do", "COMP_CWORD": "2"}
    done = program.call(env=program.environment | protocol | {"RUNNER_DB": str(program.folder)})
    assert (b"", b"") == (done.stdout.strip(), done.stderr)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_shown(program: Program, shell: str) -> None:
    environment = program.environment | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = program.call("--show-completion", shell, env=environment)
    assert 0 == done.returncode
    assert b"_RUNNER_COMPLETE=complete_" + shell.encode() in done.stdout
