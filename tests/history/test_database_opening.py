import os
import resource
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from history_examples import contents, opened, refused_by_permissions, some_job
from sqlalchemy import Connection

from runner.history import database as database_module
from runner.history.database import Database, locate
from runner.history.jobs import list_jobs
from runner.history.maintenance import find_faults
from runner.history.upgrade import REVISIONS, open_database
from runner.model.errors import DatabaseUnusable, HistoryError

OPEN = (
    "import sys; from runner.history.database import locate; from runner.history.upgrade import open_database\n"
    "from runner.model.errors import RunnerError\n"
    "try: database = open_database(locate(sys.argv[1]))\n"
    "except RunnerError as error: print(error.exit_code, error)\n"
    "else: print('opened')"
)
WRITE = (
    OPEN.replace("else: print('opened')", "")
    + """
try:
    with database.write():
        pass
except RunnerError as error: print(error.exit_code, error)
"""
)


def refusal(path: Path) -> str:
    """Open what can't be opened; returns the one line that says so, after a look that nothing was touched."""
    before = contents(path.parent) if path.parent.is_dir() else {}
    with pytest.raises(DatabaseUnusable) as caught:
        open_database(locate(str(path)))
    message = str(caught.value)
    assert 2 == caught.value.exit_code
    assert message.isprintable()
    assert before == (contents(path.parent) if path.parent.is_dir() else {})
    return message


def test_a_fresh_path_becomes_a_database_and_nothing_else(tmp_path: Path) -> None:
    with opened(tmp_path / "history.db") as database:
        assert [] == list_jobs(database)
    assert ["history.db"] == list(contents(tmp_path))


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    (tmp_path / "history.db").touch()
    with opened(tmp_path / "history.db") as database:
        assert [] == find_faults(database)
    assert ["history.db"] == list(contents(tmp_path))


def test_unusual_names_are_databases(tmp_path: Path) -> None:
    for name in ("100%", "a b?c#d", "q'\"", "ä\n", "%s %%", "\udcff"):
        with opened(tmp_path / name) as database:
            assert [] == list_jobs(database)
        assert (tmp_path / name).is_file()


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    assert "does not exist; create it" in refusal(tmp_path / "missing" / "history.db")
    assert [] == list(tmp_path.iterdir())


def test_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "is a folder; give the path of a file" in refusal(tmp_path / "folder")


def test_a_special_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in refusal(tmp_path / "pipe")


def test_an_impossible_path_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "does not exist" in refusal(tmp_path / "file" / "history.db")
    assert "File name too long" in refusal(tmp_path / ("x" * 256))
    assert "null" in refusal(tmp_path / "x\0y")


@pytest.mark.parametrize("content", [b"just text\n", b"x" * 4096, b"SQLite format 3\0" + b"\xff" * 4080])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "history.db").write_bytes(content)
    assert "is not a SQLite database" in refusal(tmp_path / "history.db")


@pytest.mark.parametrize(
    "schema",
    [
        "CREATE TABLE cookies (id INTEGER)",
        "CREATE TABLE jobs (id); CREATE TABLE runs (id)",
        "CREATE TABLE alembic_version (version_num); INSERT INTO alembic_version VALUES ('0001')",
    ],
)
def test_a_database_of_another_program_is_refused(tmp_path: Path, schema: str) -> None:
    with closing(sqlite3.connect(tmp_path / "history.db")) as other:
        other.executescript(schema)
    assert "belongs to another program" in refusal(tmp_path / "history.db")


def test_a_database_from_a_newer_runner_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "history.db") as database, database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert "is from a newer runner (schema 9999); upgrade runner" in refusal(tmp_path / "history.db")


def test_a_database_without_write_permission_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with opened(path) as database:
        some_job(database)
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    before = contents(tmp_path)
    said = refused_by_permissions(WRITE, str(path))
    tmp_path.chmod(0o755)
    assert said.startswith(f"1 the database {path} is read-only: ")
    assert 1 == said.count("\n")
    assert before == contents(tmp_path)


def test_a_directory_without_permissions_is_refused(tmp_path: Path) -> None:
    for mode, reason in ((0o555, "can't be written to"), (0o000, "Permission denied")):
        folder = tmp_path / f"{mode:o}"
        folder.mkdir(mode)
        folder.chmod(mode)
        said = refused_by_permissions(OPEN, str(folder / "history.db"))
        folder.chmod(0o755)
        assert said.startswith("2 ")
        assert reason in said
        assert 1 == said.count("\n")
        assert {} == contents(folder)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(DatabaseUnusable, match="would forget everything"):
        locate(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql+pymysql://me:hunter2@db/runs", "mysql databases are not supported"),
        ("nonsense://me:hunter2@db/runs", "nonsense databases are not supported"),
        ("postgresql://me:hunter2@db:port/runs", "can't be read"),
        ("://me:hunter2@db", "can't be read"),
    ],
)
def test_another_backend_is_refused_without_its_password(url: str, reason: str) -> None:
    with pytest.raises(DatabaseUnusable, match=reason) as caught:
        locate(url)
    assert "hunter2" not in str(caught.value)
    assert 2 == caught.value.exit_code


def test_a_path_and_its_url_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = locate(str(tmp_path / "x.db"))
    for text in ("x.db", "./y/../x.db", "~/x.db", "sqlite:///x.db", f"sqlite:///{tmp_path}/x.db"):
        assert expected == locate(text)
    assert str(tmp_path / "~nobody-by-that-name" / "x.db") == str(locate("~nobody-by-that-name/x.db"))


def test_a_link_to_a_database_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to("real.db")
    with opened(tmp_path / "link.db") as database:
        some_job(database)
    assert (tmp_path / "link.db").is_symlink()
    with opened(tmp_path / "real.db") as database:
        assert 1 == len(list_jobs(database))


def test_ten_processes_create_one_schema(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    # Each says that it has imported what it needs, and waits to be let go with the others.
    program = (
        "import alembic.command, sys, runner.history.upgrade; print('ready', flush=True); sys.stdin.read()\n" + OPEN
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(10)
    ]
    for process in processes:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    assert ["opened\n"] * 10 == [process.communicate()[0] for process in processes]
    # Of several that close at the same moment, none may be the last one, which removes the log.
    assert {"history.db"} == set(contents(tmp_path)) - {"history.db-shm", "history.db-wal"}
    with closing(sqlite3.connect(path)) as connection:
        assert [(REVISIONS[-1],)] == connection.execute("SELECT version_num FROM alembic_version").fetchall()
        assert [(1, 0)] == connection.execute("SELECT * FROM state").fetchall()


def test_a_second_process_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "history.db"
    with opened(path):
        pass
    holding = (
        "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()"
    )
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.05)
    with (
        subprocess.Popen(
            [sys.executable, "-c", holding, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as holder,
        opened(path) as database,
    ):
        assert holder.stdout is not None
        assert "locked\n" == holder.stdout.readline()
        assert [] == list_jobs(database)
        with pytest.raises(HistoryError) as caught:
            some_job(database)
        holder.communicate()
        assert f"the database {path} is locked by another program; try again when that has finished" == str(
            caught.value
        )
        assert 1 == caught.value.exit_code
        assert [] == list_jobs(database)
        some_job(database)


def test_writes_are_durable_and_references_checked(tmp_path: Path) -> None:
    with opened(tmp_path / "history.db") as database, database.write() as connection:
        settings = {
            pragma: connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one()
            for pragma in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
        assert {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 15_000} == settings


def test_a_reader_sees_one_state_and_a_second_writer_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.05)
    with opened(tmp_path / "history.db") as database:
        some_job(database, "first")
        with database.read() as reading:
            count = "SELECT count(*) FROM jobs"
            assert 1 == reading.exec_driver_sql(count).scalar_one()
            some_job(database, "second")
            assert 1 == reading.exec_driver_sql(count).scalar_one()
        assert 2 == len(list_jobs(database))
        # Locked from its beginning, not from its first statement: what is read before writing can't be outdated.
        with database.write(), pytest.raises(HistoryError, match="locked"), database.write():
            pytest.fail("two wrote at once")


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def break_off(connection: Connection) -> None:
        connection.exec_driver_sql("UPDATE state SET jobs_revision = 7")
        raise ZeroDivisionError

    with opened(tmp_path / "history.db") as database:
        with pytest.raises(ZeroDivisionError), database.write() as connection:
            break_off(connection)
        with database.read() as connection:
            assert 0 == connection.exec_driver_sql("SELECT jobs_revision FROM state").scalar_one()


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    def outgrow(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        connection.exec_driver_sql("UPDATE state SET jobs_revision = 7")
        connection.exec_driver_sql("CREATE TABLE huge AS SELECT zeroblob(1000000)")

    with opened(tmp_path / "history.db") as database:
        with pytest.raises(HistoryError, match="can't grow: the disk is full"), database.write() as connection:
            outgrow(connection)
        with database.read() as connection:
            assert 0 == connection.exec_driver_sql("SELECT jobs_revision FROM state").scalar_one()
        assert [] == find_faults(database)


def test_after_the_deadline_no_write_waits(database: Database, place: str) -> None:
    held, done = threading.Event(), threading.Event()
    other = open_database(locate(place))

    def hold() -> None:
        with other.write():
            held.set()
            done.wait(5)  # less than others wait who are in none

    with database.write():  # so that there is a connection with a patience of its own
        pass
    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(5)
    database.set_deadline(0.1)
    database.set_deadline(60)
    try:
        for _ in range(2):
            with pytest.raises(HistoryError, match="is locked by another program"), database.write():
                pytest.fail("it waited")
        assert database.is_past_deadline()
    finally:
        done.set()
        holder.join()
        other.close()
    with database.write():
        pass


@pytest.mark.parametrize(
    "text",
    [
        "postgresql//me:sesame@host/db",
        "postgres:/me:sesame@host/db",
        "postgresql:me:sesame@host",
        "POSTGRESQL+psycopg//me:sesame@host",
        "host=h user=me password=sesame",
        "password = sesame host=h",
        "sqlite//h.db",
        "sqlite:h.db",
        "//me:sesame@host/db",
        "me:sesame@host/db",
        "pg//me:sesame@host/db",
    ],
)
def test_a_malformed_url_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(DatabaseUnusable, match="misspelt") as refused:
        locate(text)
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize("text", ["/a/b@c.db", "a=b.db", "./postgresql//x", "postgresql.db", "a:b.db", "/x/me:y@z.db"])
def test_an_unusual_path_is_no_malformed_url(text: str) -> None:
    assert str(locate(text)).endswith(text.removeprefix("./").rpartition("/")[2])


def test_missing_descriptors_are_no_wrong_path(history: Database) -> None:
    list_jobs(history)
    history.engine.dispose()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.dup(2)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(taken) + 8, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(2))
        for _ in range(3):
            with pytest.raises(HistoryError, match="Too many open files") as lacking:
                list_jobs(history)
            assert 1 == lacking.value.exit_code
            os.close(taken.pop())
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [] == list_jobs(history)
