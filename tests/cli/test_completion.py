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


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_shown(program: Program, shell: str) -> None:
    environment = program.environment | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = program.call("--show-completion", shell, env=environment)
    assert 0 == done.returncode
    assert b"_RUNNER_COMPLETE=complete_" + shell.encode() in done.stdout
