"""Settings: where they come from, and what is refused in them."""

import os
from pathlib import Path

import pytest
from conftest import Program


@pytest.fixture
def configured(program: Program) -> Program:
    """Let the program take its database from a settings file in its folder."""
    program.environment["RUNNER_SETTINGS"] = str(program.folder / "settings.toml")
    return program


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("databse = 'x'", ": unknown key 'databse'; the keys are db, start_method, "),
        ("retain_run = 7", ": unknown key 'retain_run'; did you mean 'retain_runs'?"),
        ("\ndb = ", ": this is not TOML: "),
        ("# caf\udce9\n", ": line 1 is not UTF-8; save the file as UTF-8"),
        ("db = 7", ": db must be the path of a file or a URL in quotes, not 7"),
        ("db = ''", ": db must be "),
        ("runs_at_once = true", ": runs_at_once must be "),
        ("\n\nruns_at_once = 0", ": runs_at_once must be a whole number from 1 to 64, not 0"),
        ("runs_at_once = 65", ": runs_at_once must be "),
        ("retain_for = 'long'", ": retain_for must be a duration such as '365d', not 'long'"),
        ("retain_for = 365", ": retain_for must be "),
        ("retain_runs = 0", ": retain_runs must be a whole number from 1 on, not 0"),
        ("retain_failures = 1", ": retain_failures must be true or false, not 1"),
        ("start_method = 'thread'", ": start_method must be one of 'fork', 'forkserver', 'spawn', not 'thread'"),
        ("start_method = []", ": start_method must be "),
        ("log_format = 'xml'", ": log_format must be one of 'text', 'json', not 'xml'"),
        ("metrics_file = ''", ": metrics_file must be the path of a file in quotes, not ''"),
        ("[db]\npath = 1", ": db must be "),
    ],
)
def test_a_bad_settings_file_is_refused(configured: Program, text: str, said: str) -> None:
    (configured.folder / "settings.toml").write_bytes(text.encode(errors="surrogateescape"))
    line = configured.refused("jobs")
    assert line.startswith("runner: the settings file ")
    assert said in line
    assert not configured.database.exists()


def test_a_named_settings_file_is_missing_or_unreadable(configured: Program) -> None:
    assert "does not exist" in configured.refused("jobs")
    path = configured.folder / "settings.toml"
    path.mkdir()
    said = f"runner: the settings file {path} can't be read: Is a directory; check its path\n"
    assert said == configured.refused("jobs")


def test_the_settings_file_names_the_database_unless_the_environment_does(configured: Program) -> None:
    (configured.folder / "settings.toml").write_text(f"db = '{configured.folder}/from-settings.db'\n")
    assert f"{configured.database}\n" == configured.out("db", "path")
    del configured.environment["RUNNER_DB"]
    assert f"{configured.folder}/from-settings.db\n" == configured.out("db", "path")


def test_without_settings_the_database_is_in_the_users_data_folder(program: Program, tmp_path: Path) -> None:
    del program.environment["RUNNER_DB"]
    program.environment |= {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    program.out("jobs")
    assert [tmp_path] == [path for path in Path(program.out("db", "path").strip()).parents if path == tmp_path]


def test_the_start_method_is_recorded_with_each_pool(configured: Program, tree: Path) -> None:
    (configured.folder / "settings.toml").write_text("start_method = 'spawn'\n")
    run = configured.json("run", tree)
    assert {"sequential": None, "pool": "spawn"} == {one["strategy"]: one["start_method"] for one in run["executions"]}
    assert "spawn" == run["environment"]["start_method"]


def test_database_and_folder_are_private_whatever_the_umask(tmp_path: Path) -> None:
    program = Program(tmp_path, {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data")})
    (tmp_path / "tree").mkdir()
    assert 0 == program.call("run", "tree", umask=0).returncode
    folder = tmp_path / "data/runner"
    assert [0o700] * 2 == [one.stat().st_mode & 0o777 for one in (folder, folder.parent)]
    assert {"runner.db": 0o600, "runner.db.runs.lock": 0o600} == {
        path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()
    }


def test_db_path_shows_no_control_character(tmp_path: Path) -> None:
    program = Program(tmp_path, {**os.environ, "RUNNER_DB": str(tmp_path / "a\x1b[31m.db")})
    assert "\x1b" not in program.out("db", "path")
