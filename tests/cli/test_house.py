"""The house rules, checked by their own tools."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Program

ROOT = Path(__file__).parents[2]
HEAVY = {"sqlalchemy", "alembic", "apscheduler", "psutil", "multiprocessing"}


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check"],
        ["ruff", "format", "--check"],
        ["mypy"],
        # One by one: what is excluded from the files is passed over in a package as well.
        [
            "mypy",
            *(f"--module=tests.benchmarks.{path.stem}" for path in sorted(ROOT.glob("tests/benchmarks/[!_]*.py"))),
        ],
        ["importlinter.cli", "lint"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_tool_has_nothing_to_say(command: list[str]) -> None:
    module, *arguments = command
    call = [sys.executable, "-m", module, *arguments]
    if module == "importlinter.cli":
        call = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, check=False)
    assert 0 == done.returncode, (done.stdout + done.stderr).decode()


def imported_by(program: Program, *arguments: str, **variables: str) -> set[str]:
    """Return the modules that a command has imported when it ends."""
    script = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
    script += "from runner.__main__ import main; main()"
    command = [sys.executable, "-c", script, *arguments]
    environment = program.environment | variables
    done = subprocess.run(command, env=environment, cwd=program.folder, capture_output=True, check=False, text=True)
    assert 0 == done.returncode, done.stderr
    assert done.stdout
    return set(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [("--help", ""), ("history --help", ""), ("schedule --help", ""), ("", "runner hi"), ("", "runner history --st")],
)
def test_help_and_completion_import_nothing_heavy(program: Program, arguments: str, words: str) -> None:
    protocol = {"_RUNNER_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    assert set() == HEAVY & imported_by(program, *arguments.split(), **(protocol if words else {}))


def test_a_history_in_sqlite_imports_no_other_dialect(program: Program) -> None:
    program.out("db", "upgrade")
    imported = imported_by(program, "history")
    assert {"sqlalchemy"} == imported & {"sqlalchemy", "sqlalchemy.dialects.postgresql", "alembic", "apscheduler"}


def test_the_package_itself_imports_nothing() -> None:
    script = "import sys; before = set(sys.modules); import runner; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert "runner" == done.stdout.strip()


def test_no_module_is_named_for_nothing() -> None:
    names = {path.stem for path in (ROOT / "runner").rglob("*.py")}
    assert set() == names & {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def test_nothing_but_the_command_line_prints() -> None:
    printing = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "runner").rglob("*.py")
        if "cli" not in path.parts and any(line.lstrip().startswith("print(") for line in path.read_text().splitlines())
    ]
    assert [] == printing


def test_the_database_library_stays_within_history() -> None:
    importing = {
        path.relative_to(ROOT / "runner").parts[0]
        for path in (ROOT / "runner").rglob("*.py")
        if "sqlalchemy" in path.read_text().lower() and "import" in path.read_text()
        for line in path.read_text().splitlines()
        if line.strip().startswith(("import sqlalchemy", "from sqlalchemy", "import alembic", "from alembic"))
    }
    assert {"history"} == importing
