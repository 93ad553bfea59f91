import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from history_examples import contents, listing, opened, play, snapshot, some_job
from old_schemas import TO_0006
from sqlalchemy import Connection, MetaData, select

from runner.history import upgrade
from runner.history.contents import list_files
from runner.history.database import Database, locate
from runner.history.jobs import list_jobs
from runner.history.maintenance import copy_database, find_faults
from runner.history.recording import list_saved_mounts
from runner.history.tables import firings, metadata
from runner.history.upgrade import REVISIONS, open_database
from runner.model.bundled import bundled
from runner.model.errors import DatabaseUnusable, HistoryError

REPOSITORY = Path(__file__).parents[2]
NEXT = """
from alembic import op
revision, down_revision, branch_labels, depends_on = "9999", "{last}", None, None

def upgrade():
    op.execute("CREATE TABLE extra (id INTEGER)")
    op.execute("DELETE FROM files")
    {more}
"""


@pytest.fixture
def migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Migrations as a newer runner would have them, with room for one more."""
    copy = tmp_path / "migrations"
    shutil.copytree(bundled("migrations"), copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(upgrade, "bundled", lambda folder: tmp_path / folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return copy / "versions" / "9999_more.py"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of the present schema with one run in it."""
    path = tmp_path / "kept" / "history.db"
    path.parent.mkdir()
    with opened(path) as database:
        play(database, some_job(database), snapshot(listing(b"", [b"x.md"])))
    return path


def tables_of(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def rows_of(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608  a table's name


def test_alembic_finds_no_difference_from_the_tables(place: str) -> None:
    command = [sys.executable, "-m", "alembic", "-c", "pyproject.toml", "check"]
    environment = {**os.environ, "RUNNER_DB": place}
    done = subprocess.run(command, check=False, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert (0, "No new upgrade operations detected.\n") == (done.returncode, done.stdout), done.stderr


def test_the_statements_equal_those_of_the_migrations(tmp_path: Path) -> None:
    """Compare checks, partial indexes, WITHOUT ROWID and AUTOINCREMENT by their statements."""
    with opened(tmp_path / "migrated.db"):
        pass
    drawn = Database(locate(str(tmp_path / "drawn.db")))
    metadata.create_all(drawn.engine)
    drawn.close()
    assert statements(tmp_path / "drawn.db") == statements(tmp_path / "migrated.db")


def statements(path: Path) -> dict[str, list[str]]:
    """Return the clauses of the statement of each table and index, in any order."""
    query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type != 'view' AND name NOT LIKE 'sqlite_%'"
    with closing(sqlite3.connect(path)) as connection:
        return {
            # An added column stands behind the last one, on its line.
            name: sorted(
                clause.strip()
                for clause in re.sub(r"[ \t]+", " ", sql).replace(",", "\n").splitlines()
                if clause.strip()
            )
            for name, sql in connection.execute(query)
            if name != "alembic_version"
        }


def test_the_revisions_are_those_of_the_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", str(bundled("migrations")))
    scripts = ScriptDirectory.from_config(config)
    assert list(REVISIONS) == [script.revision for script in scripts.walk_revisions()][::-1]
    assert [REVISIONS[-1]] == scripts.get_heads()


def test_alembic_is_not_imported_while_the_schema_is_current(tmp_path: Path) -> None:
    with opened(tmp_path / "history.db"):
        pass
    program = (
        "import sys; from runner.history.database import locate; from runner.history.upgrade import open_database\n"
        "open_database(locate(sys.argv[1])).close()\n"
        "print([name for name in ('alembic', 'mako') if name in sys.modules])"
    )

    def imported(path: Path) -> str:
        command = [sys.executable, "-c", program, str(path)]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    assert "[]\n" == imported(tmp_path / "history.db")
    assert "[]\n" != imported(tmp_path / "fresh.db")


def test_only_migrations_create_tables() -> None:
    sources = [path for path in (REPOSITORY / "runner").rglob("*.py") if "create_all" in path.read_text("utf-8")]
    assert [] == sources


def test_an_older_schema_is_upgraded_after_a_backup(
    old: Path, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrations.write_text(NEXT.format(last=REVISIONS[-1], more=""))
    monkeypatch.setattr(upgrade, "REVISIONS", (*REVISIONS, "9999"))
    backup = old.with_name("history.db.before-9999")
    backup.write_text("left by an upgrade that did not finish")
    with opened(old) as database:
        assert [] == find_faults(database)
        with database.read() as connection:
            assert 1 == connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one()
    assert {"history.db", backup.name} == set(contents(old.parent))
    assert {"extra"} == tables_of(old) - tables_of(backup)
    assert (0, 1) == (rows_of(old, "files"), rows_of(backup, "files"))
    with opened(old):  # once is enough
        assert (0, 1) == (rows_of(old, "files"), rows_of(backup, "files"))
    monkeypatch.setattr(upgrade, "REVISIONS", REVISIONS)
    with opened(backup) as database:
        assert 1 == len(list_jobs(database))
    with pytest.raises(DatabaseUnusable, match="newer runner"):
        open_database(locate(str(old)))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('op.execute("INSERT INTO nowhere VALUES (1)")', "no such table: nowhere"),
        ('op.execute("DELETE FROM jobs")', "rows that refer to nothing"),
    ],
)
def test_a_failed_migration_changes_nothing(
    old: Path, migrations: Path, monkeypatch: pytest.MonkeyPatch, more: str, message: str
) -> None:
    before = old.read_bytes()
    migrations.write_text(NEXT.format(last=REVISIONS[-1], more=more))
    monkeypatch.setattr(upgrade, "REVISIONS", (*REVISIONS, "9999"))
    with pytest.raises(HistoryError, match=message):
        open_database(locate(str(old)))
    assert before == old.read_bytes()
    monkeypatch.setattr(upgrade, "REVISIONS", REVISIONS)
    with opened(old) as database:
        assert [] == find_faults(database)
        assert (1, 1) == (rows_of(old, "files"), len(list_jobs(database)))


def set_back_to_0006(connection: Connection) -> None:
    for undo in TO_0006:
        connection.exec_driver_sql(undo)


def test_a_schema_without_mounts_is_upgraded(place: str) -> None:
    with opened(place) as database:
        job = some_job(database)
        run = play(database, job, snapshot(listing(b"", [b"x.md"])))
        with database.write() as connection:
            set_back_to_0006(connection)
    with opened(place) as database:
        assert [] == find_faults(database)
        assert [job] == list_jobs(database)
        assert () == list_saved_mounts(database, job)
        assert [b"x.md"] == [file.path for file in list_files(database, job.job_id, run.run_id)]


def test_pending_retries_and_catch_up_runs_become_firings(place: str) -> None:
    def at(hour: int, minute: int = 0) -> datetime:
        return datetime(2026, 6, 1, hour, minute, tzinfo=UTC)

    with opened(place) as database, database.write() as connection:
        set_back_to_0006(connection)
        old = MetaData()
        old.reflect(connection)
        selection = {"id": 1, "patterns": "[]", "excludes": "[]", "ignore_case": False, "track": "stat"}
        connection.execute(old.tables["selections"].insert(), {**selection, "one_file_system": False})
        for job, catchup, retries in ((1, "all", 2), (2, "once", 0), (3, "all", 2), (4, "all", 0)):
            values = {
                "id": job,
                "name": str(job),
                "root": b"/",
                "selection_id": 1,
                "strategies": "[]",
                "catchup": catchup,
                "schedule_kind": "every" if job < 4 else "cron",
                "schedule_expression": "1h" if job < 4 else "0 * * * *",
                "schedule_timezone": "UTC" if job < 4 else "Nowhere/Unknown",
                "schedule_jitter_s": 0,
                "paused": job == 3,
                "retries": retries,
                **dict.fromkeys(("schedule_anchor_at", "created_at", "armed_at"), at(0)),
            }
            connection.execute(old.tables["jobs"].insert(), values)
            count = 3 if catchup == "all" else 1
            for status, cause, due_at, ended_at, owed in (
                ("failed", "schedule", at(1), at(1, 5), 0),
                ("missed", "schedule", at(2), at(4, 30), count),
                ("missed", "schedule", at(2), at(4, 30), count),  # again, after the clock was set back
                ("succeeded", "catchup", at(count), at(9), 0),
                ("succeeded", "manual", None, at(9, 10), 0),
            ):
                run = {"job_id": job, "selection_id": 1, "status": status, "cause": cause, "scheduled_at": due_at}
                times = {"started_at": None if status == "missed" else ended_at, "finished_at": ended_at}
                connection.execute(old.tables["runs"].insert(), {**run, **times, "owed": owed})

    with opened(place) as database, database.read() as connection:
        found = connection.execute(select(firings).order_by(firings.c.id)).all()
        assert [] == find_faults(database)
    assert [
        (1, at(1), "schedule", 2, 1),
        (1, at(2), "catchup", 1, None),
        (1, at(4), "catchup", 1, None),
        (2, at(4), "catchup", 1, None),
    ] == [(row.job_id, row.due_at, row.cause, row.attempt, row.retry_of) for row in found]
    assert at(1, 6) == found[0].not_before


def test_a_backup_during_writes_is_a_database(old: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    (tmp_path / "copy.db.partial").write_text("left by a copy that was killed")
    with opened(old) as database, opened(old) as other:
        with other.write() as connection:
            connection.exec_driver_sql("DELETE FROM files")
            copy_database(database, target)
        assert 1 == rows_of(target, "files")
    with opened(target) as database:
        assert [] == find_faults(database)
    assert not (tmp_path / "copy.db.partial").exists()


def test_a_backup_never_replaces_a_file(old: Path, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    (tmp_path / "folder").mkdir()
    places = {
        "there": "exists already",
        "folder": "exists already",
        "there/below": "can.t be written",
        "missing/below": "does not exist; create it",
        "x" * 255: "File name too long",
    }
    before = contents(tmp_path)
    with opened(old) as database:
        for place, reason in places.items():
            with pytest.raises(DatabaseUnusable, match=reason):
                copy_database(database, tmp_path / place)
    assert before == contents(tmp_path)
