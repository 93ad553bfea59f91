"""Settings: where they come from, and what is refused in them."""

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
        ("databse = 'x'", "unknown key 'databse'"),
        ("db = ", "is not TOML"),
        ("db = 7", "unusable value for db"),
        ("db = ''", "unusable value for db"),
        ("runs_at_once = true", "unusable value for runs_at_once"),
        ("runs_at_once = 0", "unusable value for runs_at_once"),
        ("retain_for = 'long'", "unusable value for retain_for"),
        ("retain_runs = 0", "unusable value for retain_runs"),
        ("retain_failures = 1", "unusable value for retain_failures"),
        ("start_method = 'thread'", "unusable value for start_method"),
        ("start_method = []", "unusable value for start_method"),
        ("[db]\npath = 1", "unusable value for db"),
    ],
)
def test_a_bad_settings_file_is_refused(configured: Program, text: str, said: str) -> None:
    (configured.folder / "settings.toml").write_text(text)
    done = configured.quick("jobs")
    assert (2, b"", 1) == (done.returncode, done.stdout, done.stderr.count(b"\n"))
    assert done.stderr.startswith(b"runner: the settings file ")
    assert said in done.stderr.decode()
    assert not configured.database.exists()


def test_a_named_settings_file_that_is_missing_is_refused(configured: Program) -> None:
    done = configured.quick("jobs")
    assert (2, b"", 1) == (done.returncode, done.stdout, done.stderr.count(b"\n"))
    assert b"does not exist" in done.stderr


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
