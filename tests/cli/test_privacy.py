"""Who may read what runner writes, and passwords in what was meant as a URL."""

import subprocess
import sys
from pathlib import Path
from stat import S_IMODE

import pytest
from conftest import Program

SLIPS = [
    "postgresql//me:hunter2@host/db",
    "postgresql:me:hunter2@host/db",
    "postgres:/me:hunter2@host/db",
    "postgresql:///me:hunter2@host/db@",
    "PostgreSQL//me:hunter2@host/db",
    "PostgreSQL://me:hunter2@127.0.0.1:1/db",
    "POSTGRES://me:hunter2@host/db",
    "postgres://me:hunter2@host/db",
    " postgresql//me:hunter2@host/db",
    "host=db.example password=hunter2",
    "password = hunter2 host=db",
    "dbname=x password='hunter2'",
    "me:hunter2@host/db",
    "//me:hunter2@host/db",
    "https://me:hunter2@host/db",
    "psql://me:hunter2@host/db",
    "postgresql;//me:hunter2@host/db",
]


def refuse(program: Program, *command: str) -> None:
    done = program.quick(*command)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode in {1, 2}, said
    assert "hunter2" not in said
    assert 1 == said.count("\n"), said


@pytest.mark.parametrize("text", SLIPS)
@pytest.mark.parametrize("source", ["--db", "RUNNER_DB", "settings"])
def test_a_misspelt_url_is_refused_and_never_shown(program: Program, source: str, text: str) -> None:
    flag: list[str] = []
    program.environment["RUNNER_DB"] = ""
    if source == "--db":
        flag = ["--db", text]
    elif source == "RUNNER_DB":
        program.environment["RUNNER_DB"] = text
    else:
        settings = program.folder / "settings.toml"
        settings.write_text(f'db = "{text}"\n')
        program.environment["RUNNER_SETTINGS"] = str(settings)
    before = {path.name for path in program.folder.iterdir()}
    for command in (["jobs"], ["status"], ["schedule", ".", "--every", "1h"], ["service", "print", "--user"]):
        refuse(program, *command, *flag)
    refuse(program, "service", "print", "--system", *flag)
    assert before == {path.name for path in program.folder.iterdir()}


@pytest.mark.parametrize("start", ["postgresql+psycopg2://me", "postgresql:// me"])
def test_a_url_that_can_be_read_is_shown_without_its_password(program: Program, start: str) -> None:
    for command in (["jobs"], ["status"], ["service", "print", "--user"]):
        refuse(program, *command, "--db", f"{start}:hunter2@/db?host=/nowhere")


def test_the_check_notes_modes_that_are_too_wide(program: Program, tree: Path) -> None:
    program.out("run", tree)
    assert "access" not in program.quick("db", "check").stderr.decode()
    lock = Path(f"{program.database}.runs.lock")
    for path, mode in ((program.folder, 0o755), (program.database, 0o644), (lock, 0o640)):
        path.chmod(mode)
        checked = program.quick("db", "check")
        assert 0 == checked.returncode
        assert f"note: others have access to {path} (mode {mode:04o}); close it by `chmod" in checked.stderr.decode()
    assert [0o755, 0o644] == [S_IMODE(path.stat().st_mode) for path in (program.folder, program.database)]


def test_directories_that_are_created_are_private(program: Program, tree: Path) -> None:
    places = {name: program.folder / name.lower() for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    program.environment |= {name: str(path) for name, path in places.items()} | {"RUNNER_DB": ""}
    assert 0 == program.call("schedule", tree, "--every", "1h", "--strategy", "incremental", umask=0).returncode
    assert 0 == program.call("run", "docs", umask=0).returncode
    assert 0 == program.call("service", "install", "--user", "--kind", "systemd", umask=0).returncode
    for place in places.values():
        assert place.is_dir()
        for path in (place, *place.rglob("*")):
            expected = 0o700 if path.is_dir() else 0o644 if path.suffix == ".service" else 0o600
            assert expected == S_IMODE(path.stat().st_mode), path


def test_the_log_of_a_defect_is_private(program: Program) -> None:
    script = "import os, runner.cli.logs as m; os.umask(0); print(m.log_defect())"
    environment = {**program.environment, "XDG_STATE_HOME": str(program.folder / "state")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True, text=True)
    log = Path(done.stdout.strip())
    assert log.is_relative_to(program.folder)
    assert (0o600, 0o700) == (S_IMODE(log.stat().st_mode), S_IMODE(log.parent.stat().st_mode))
