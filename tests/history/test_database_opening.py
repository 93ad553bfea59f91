"""Opening of databases, their transactions and errors: of both kinds alike, then of SQLite files."""

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
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
from runner.model.errors import DatabaseUnusable, HistoryError, NotWritable

OPEN = """
import alembic.command, sys
from runner.history.database import locate
from runner.history.upgrade import open_database
from runner.model.errors import RunnerError
print("ready", flush=True)
sys.stdin.read()
try:
    with open_database(locate(sys.argv[1])).write() as connection:
        print("opened")
except RunnerError as error:
    print(error.exit_code, error)
"""
HOLD = (
    "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    "connection.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()"
)


def refusal(place: Path | str) -> str:
    """Open what can't be opened; return the line that says so, after a look that nothing was touched."""
    folder = Path(place).parent
    before = contents(folder) if folder.is_dir() else {}
    with pytest.raises(DatabaseUnusable) as caught:
        open_database(locate(str(place)))
    message = str(caught.value)
    assert (2, True) == (caught.value.exit_code, message.isprintable())
    assert before == (contents(folder) if folder.is_dir() else {})
    return message


def execute(place: str, *statements: str) -> None:
    with closing(Database(locate(place))) as database, database.write() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Name a database without a history."""
    if request.param == "sqlite":
        yield str(tmp_path / "history.db")
        return
    server = request.getfixturevalue("postgresql")
    with server.fresh() as name:
        yield server.url(name)


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE cookies (id INTEGER)"],
        ["CREATE TABLE jobs (id INTEGER)", "CREATE TABLE runs (id INTEGER)"],
        ["CREATE TABLE alembic_version (version_num TEXT)", "INSERT INTO alembic_version VALUES ('0001')"],
    ],
)
def test_a_database_of_another_program_is_refused(empty: str, statements: list[str]) -> None:
    execute(empty, *statements)
    assert "belongs to another program" in refusal(empty)


def test_a_database_from_a_newer_runner_is_refused(place: str) -> None:
    execute(place, "UPDATE alembic_version SET version_num = '9999'")
    assert "is from a newer runner (schema 9999); upgrade runner" in refusal(place)


def test_several_processes_create_one_schema(empty: str) -> None:
    # Each says that it has imported what it needs, and waits to be let go with the others.
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN, empty], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    for process in processes:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    assert ["opened\n"] * len(processes) == [process.communicate()[0] for process in processes]
    with opened(empty) as database, database.read() as connection:
        assert [(REVISIONS[-1],)] == connection.exec_driver_sql("SELECT version_num FROM alembic_version").all()
        assert [(1, 0)] == connection.exec_driver_sql("SELECT * FROM state").all()
    if Path(empty).exists():  # of several that close at once, none may be the last one, which removes the log
        assert {"history.db"} == set(contents(Path(empty).parent)) - {"history.db-shm", "history.db-wal"}


def test_a_failed_migration_leaves_nothing(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(connection: Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE runs (id int)")
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("runner.history.upgrade._run_migrations", break_off)
        with pytest.raises(ZeroDivisionError):
            open_database(locate(empty))
    with opened(empty) as database:
        assert [] == list_jobs(database)


def test_a_reader_sees_one_state_and_a_second_writer_waits(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.05)
    with opened(place) as database:
        some_job(database, "first")
        with database.read() as reading:
            count = "SELECT count(*) FROM jobs"
            assert 1 == reading.exec_driver_sql(count).scalar_one()
            some_job(database, "second")
            assert 1 == reading.exec_driver_sql(count).scalar_one()
        # Locked from its beginning, not from its first statement: what is read before writing can't be outdated.
        with database.write(), pytest.raises(HistoryError, match="locked by another program"), database.write():
            pytest.fail("two wrote at once")
        if not place.startswith("/"):
            with pytest.raises(NotWritable, match="read-only"), database.read() as connection:
                connection.exec_driver_sql("DELETE FROM jobs")
        assert 2 == len(list_jobs(database))


def test_a_failed_write_leaves_nothing(database: Database) -> None:
    def break_off(connection: Connection) -> None:
        connection.exec_driver_sql("UPDATE state SET jobs_revision = 7")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), database.write() as connection:
        break_off(connection)
    with database.read() as connection:
        assert 0 == connection.exec_driver_sql("SELECT jobs_revision FROM state").scalar_one()


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


MISSPELT = "is a misspelt URL"
IN_MEMORY = "would forget everything"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mysql+pymysql://me:sesame@db/runs", "mysql databases are not supported"),
        ("nonsense://me:sesame@db/runs", "nonsense databases are not supported"),
        ("postgresql://me:sesame@db:port/runs", "can't be read"),
        ("://me:sesame@db", "can't be read"),
        *((url, IN_MEMORY) for url in ("sqlite://", "sqlite:///", "sqlite:///:memory:", ":memory:")),
        ("sqlite://me:sesame@host/h.db", "has no host"),
        ("postgresql//me:sesame@host/db", MISSPELT),
        ("postgres:/me:sesame@host/db", MISSPELT),
        ("postgresql:me:sesame@host", MISSPELT),
        ("POSTGRESQL+psycopg//me:sesame@host", MISSPELT),
        ("host=h user=me password=sesame", MISSPELT),
        ("password = sesame host=h", MISSPELT),
        ("sqlite//h.db", MISSPELT),
        ("sqlite:h.db", MISSPELT),
        ("//me:sesame@host/db", MISSPELT),
        ("me:sesame@host/db", MISSPELT),
        ("pg//me:sesame@host/db", MISSPELT),
    ],
)
def test_a_wrong_address_is_refused_without_its_password(text: str, reason: str) -> None:
    with pytest.raises(DatabaseUnusable, match=reason) as refused:
        locate(text)
    assert (2, False) == (refused.value.exit_code, "sesame" in str(refused.value))


@pytest.mark.parametrize("text", ["/a/b@c.db", "a=b.db", "./postgresql//x", "postgresql.db", "a:b.db", "/x/me:y@z.db"])
def test_an_unusual_path_is_no_malformed_url(text: str) -> None:
    assert str(locate(text)).endswith(text.removeprefix("./").rpartition("/")[2])


def test_a_path_and_its_url_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = locate(str(tmp_path / "x.db"))
    for text in ("x.db", "./y/../x.db", "~/x.db", "sqlite:///x.db", f"sqlite:///{tmp_path}/x.db"):
        assert expected == locate(text)
    assert str(tmp_path / "~nobody-by-that-name" / "x.db") == str(locate("~nobody-by-that-name/x.db"))


def test_a_path_becomes_a_database_and_nothing_else(tmp_path: Path) -> None:
    names = {"empty.db", "h.db", "100%", "a b?c#d", "q'\"", "ä\n", "%s %%", "\udcff"}
    (tmp_path / "empty.db").touch()
    for name in names:
        with opened(tmp_path / name) as database:
            assert [] == find_faults(database)
    assert names == contents(tmp_path).keys()


def test_a_link_to_a_database_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to("real.db")
    with opened(tmp_path / "link.db") as database:
        some_job(database)
    assert (tmp_path / "link.db").is_symlink()
    with opened(tmp_path / "real.db") as database:
        assert 1 == len(list_jobs(database))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/history.db", "does not exist; create it"),
        (".", "is a directory; give the path of a file"),
        ("pipe", "is not a regular file"),
        ("file/history.db", "does not exist"),
        ("x" * 256, "File name too long"),
        ("circle", "symbolic links"),
        ("x\0y", "null"),
        ("text", "is not a SQLite database"),
        ("damaged", "is not a SQLite database"),
    ],
)
def test_a_wrong_path_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "text").write_bytes(b"just text\n")
    (tmp_path / "damaged").write_bytes(b"SQLite format 3\0" + b"\xff" * 4080)
    assert reason in refusal(tmp_path / name)


def test_a_database_without_write_permission_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with opened(path) as database:
        some_job(database)
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    before = contents(tmp_path)
    said = refused_by_permissions(OPEN, str(path))
    tmp_path.chmod(0o755)
    assert said.startswith(f"ready\n1 the database {path} is read-only: ")
    assert (2, before) == (said.count("\n"), contents(tmp_path))


@pytest.mark.parametrize(("mode", "reason"), [(0o555, "can't be written to"), (0o000, "Permission denied")])
def test_a_directory_without_permissions_is_refused(tmp_path: Path, mode: int, reason: str) -> None:
    tmp_path.chmod(mode)
    said = refused_by_permissions(OPEN, str(tmp_path / "history.db"))
    tmp_path.chmod(0o755)
    assert (True, True) == (said.startswith("ready\n2 "), reason in said), said
    assert (2, {}) == (said.count("\n"), contents(tmp_path))


def test_a_second_process_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "history.db"
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.05)
    command = [sys.executable, "-c", HOLD, str(path)]
    with (
        opened(path) as database,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder,
    ):
        assert holder.stdout is not None
        assert "locked\n" == holder.stdout.readline()
        with pytest.raises(HistoryError) as caught:
            some_job(database)
        holder.communicate()
        expected = f"the database {path} is locked by another program; try again when that has finished"
        assert (expected, 1) == (str(caught.value), caught.value.exit_code)
        assert [] == list_jobs(database)
        some_job(database)


def test_writes_are_durable_and_references_checked(history: Database) -> None:
    with history.write() as connection:
        settings = {
            pragma: connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one()
            for pragma in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 15_000} == settings


def test_a_full_disk_is_reported_and_leaves_nothing(history: Database) -> None:
    def outgrow(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        connection.exec_driver_sql("UPDATE state SET jobs_revision = 7")
        connection.exec_driver_sql("CREATE TABLE huge AS SELECT zeroblob(1000000)")

    with pytest.raises(HistoryError, match="can't grow: the disk is full"), history.write() as connection:
        outgrow(connection)
    with history.read() as connection:
        assert 0 == connection.exec_driver_sql("SELECT jobs_revision FROM state").scalar_one()
    assert [] == find_faults(history)


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
