"""Behaviour of PostgreSQL databases alone: errors, locks and refusals."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import Program
from history_examples import contents, listing, opened, play, snapshot, some_job
from postgresql_server import PostgresqlServer, running_server

from runner.history.database import locate
from runner.history.jobs import list_jobs
from runner.history.maintenance import copy_database
from runner.history.tables import files
from runner.history.upgrade import open_database
from runner.model.errors import DatabaseUnusable, HistoryError, NotWritable


@pytest.fixture
def url(postgresql: PostgresqlServer) -> Iterator[str]:
    """Name an empty history."""
    with postgresql.fresh("kept") as name:
        yield postgresql.url(name)


def name_of(url: str) -> str:
    return url.rpartition("@/")[2].partition("?")[0]


def refusal(url: str, error: type[HistoryError] = DatabaseUnusable) -> str:
    """Open what can't be opened; returns the line that says so."""
    with pytest.raises(error) as caught:
        open_database(locate(url))
    message = str(caught.value)
    assert message.isprintable()
    assert "hunter2" not in message
    return message


def test_a_url_is_shown_without_its_secrets() -> None:
    url = "postgresql+psycopg://me:hunter2@db.example:5433/runs?sslpassword=hunter2&password=hunter2&sslmode=require"
    location = locate(url)
    assert "postgresql://me@db.example:5433/runs" == str(location)
    assert "hunter2" not in repr(location)
    socket = "postgresql:///runs?host=%2Ftmp%2Fx&options=-csearch_path%3Da"
    assert locate(socket) == locate(str(locate(socket)))


def test_an_unreachable_server_is_reported(tmp_path: Path) -> None:
    said = refusal(f"postgresql://me:hunter2@/runs?host={tmp_path}", HistoryError)
    assert "can't be reached: No such file or directory; start its server" in said
    assert "can't be reached: Connection refused" in refusal("postgresql://me:hunter2@127.0.0.1:1/runs", HistoryError)
    assert "can't be opened: invalid port number" in refusal("postgresql://me:hunter2@127.0.0.1:99999/runs")
    assert "can't be opened: invalid sslmode value" in refusal("postgresql://me:hunter2@127.0.0.1/runs?sslmode=on")
    with pytest.raises(HistoryError) as caught:
        open_database(locate(f"postgresql:///runs?host={tmp_path}"))
    assert 1 == caught.value.exit_code  # the URL is right: the service manager tries again


def test_the_reason_of_a_refusal_is_shown(postgresql: PostgresqlServer, url: str) -> None:
    postgresql.do("CREATE ROLE locked LOGIN PASSWORD 'right'", "CREATE ROLE guest LOGIN")
    name = name_of(url)
    said = refusal(postgresql.url(name, "locked:hunter2"))
    assert 'can\'t be opened: password authentication failed for user "locked"; check its URL' in said
    assert 'database "nowhere" does not exist' in refusal(postgresql.url("nowhere"))
    assert 'role "nobody-here" does not exist' in refusal(postgresql.url(name, "nobody-here:hunter2"))
    assert "is closed or read-only to this user: permission denied" in refusal(
        postgresql.url(name, "guest"), NotWritable
    )
    with postgresql.fresh() as bare:
        said = refusal(postgresql.url(bare, "guest"), NotWritable)
        assert "is closed or read-only to this user: permission denied for schema public" in said
    assert "can't be opened: invalid" in refusal(f"{url}&nonsense=hunter2")


def test_a_shortage_of_a_server_is_no_wrong_url(tmp_path: Path) -> None:
    with running_server(max_connections="3", superuser_reserved_connections="1", listen_addresses="") as server:
        server.do("CREATE ROLE guest LOGIN")
        url = server.url("postgres", "guest")
        with ExitStack() as connected:
            for _ in range(2):
                engine = locate(url).make_engine(1.0)
                connected.callback(engine.dispose)
                connected.enter_context(engine.connect())
            assert "can't be reached now: " in refusal(url, HistoryError)
            program = Program(tmp_path, {**os.environ, "RUNNER_DB": url})
            refused = program.call("daemon")
            assert (1, 1) == (refused.returncode, refused.stderr.count(b"\n")), refused.stderr
    with pytest.raises(HistoryError) as caught:
        open_database(locate(url))
    assert 1 == caught.value.exit_code


REFUSED = 'connection failed: connection to server at "db", port 5432 failed: FATAL:  '


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f"{REFUSED}sorry, too many clients already", 1),
        (f"{REFUSED}remaining connection slots are reserved for roles with the SUPERUSER attribute", 1),
        (f'{REFUSED}too many connections for database "runs"', 1),
        (f"{REFUSED}the database system is starting up", 1),
        (f"{REFUSED}the database system is in recovery mode", 1),
        (f"{REFUSED}Datenbanksystem startet", 1),
        (f'{REFUSED}password authentication failed for user "me"', 2),
        (f'{REFUSED}database "runs" does not exist', 2),
        (f'{REFUSED}no pg_hba.conf entry for host "::1"', 2),
        (f"failed to resolve host 'db': [Errno {socket.EAI_AGAIN}] it says", 1),
        (f"failed to resolve host 'db': [Errno {socket.EAI_NONAME}] it says", 2),
    ],
)
def test_only_a_wrong_url_is_wrong_usage(text: str, code: int) -> None:
    import psycopg

    assert code == locate("postgresql://me@db/runs").explain(psycopg.OperationalError(text)).exit_code


def test_a_missing_driver_is_reported_with_the_fix(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    said = refusal(url)
    assert said.endswith("needs a driver that is not installed; install it with `pip install 'runner[postgresql]'`")


def test_two_schemas_of_a_database_are_two_histories(url: str) -> None:
    with opened(url) as database, database.write() as connection:
        connection.exec_driver_sql("CREATE SCHEMA other")
    with opened(url) as one, opened(f"{url}&options=-csearch_path%3Dother") as other:
        some_job(one)
        assert [] == list_jobs(other)
        with one.write(), other.write():
            pass
        locks = [each.location.daemon_lock(each.engine) for each in (one, other)]
        assert [True, True] == [lock.hold() for lock in locks]
        for lock in locks:
            lock.release()


def test_writes_are_durable_despite_the_servers_setting(postgresql: PostgresqlServer, url: str) -> None:
    name = name_of(url)
    for chosen, expected in {"off": "on", "remote_apply": "remote_apply"}.items():
        postgresql.do(f"ALTER DATABASE {name} SET synchronous_commit = {chosen}")
        with opened(url) as database, database.write() as connection:
            assert expected == connection.exec_driver_sql("SHOW synchronous_commit").scalar_one()
            assert "15s" == connection.exec_driver_sql("SHOW lock_timeout").scalar_one()


def test_a_lost_machine_is_noticed() -> None:
    """Check a network connection: a local socket ends with its process."""
    expected = {socket.SO_KEEPALIVE: 1, socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}
    with running_server(listen_addresses="127.0.0.1", port=str(free_port())) as server:
        url = f"postgresql://runner@127.0.0.1:{server.settings['port']}/postgres"
        for more, patience_ms in (("", 60_000), ("?tcp_user_timeout=5000", 5_000)):
            with opened(url + more) as database, database.read() as connection:
                settings = {
                    name: connection.exec_driver_sql(f"SHOW tcp_keepalives_{name}").scalar_one()
                    for name in ("idle", "interval", "count")
                }
                assert {"idle": "30", "interval": "10", "count": "3"} == settings
                driver = connection.connection.driver_connection
                assert driver is not None
                with socket.socket(fileno=os.dup(driver.fileno())) as own:
                    levels = {socket.SO_KEEPALIVE: socket.SOL_SOCKET}
                    kept = {name: own.getsockopt(levels.get(name, socket.IPPROTO_TCP), name) for name in expected}
                    assert expected == kept
                    assert patience_ms == own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_a_backup_refers_to_pg_dump(url: str, tmp_path: Path) -> None:
    with opened(url) as database, pytest.raises(DatabaseUnusable, match="pg_dump --file=FILE 'postgresql://"):
        copy_database(database, tmp_path / "copy")
    assert {} == contents(tmp_path)


def test_after_a_restart_the_lock_is_acquired_again() -> None:
    with running_server() as server, opened(server.url("postgres")) as database:
        locks = [database.location.daemon_lock(database.engine) for _ in range(2)]
        assert [True, False] == [lock.hold() for lock in locks]
        assert locks[0].hold()
        server.stop()
        with pytest.raises(HistoryError, match="can't be reached"):
            list_jobs(database)
        with pytest.raises(HistoryError, match="can't be reached"), database.translate_errors():
            locks[0].hold()
        server.start()
        play(database, some_job(database), snapshot(listing(b"", [b"x"])))
        assert [True, False] == [lock.hold() for lock in locks]
        server.stop()
        server.start()
        assert [True, False] == [lock.hold() for lock in reversed(locks)]
        locks[1].release()
        assert locks[0].hold()
        locks[0].release()


def test_an_update_reads_the_table_once(url: str) -> None:
    names = [b"%d.md" % number for number in range(25_000)]
    with opened(url) as database:
        job = some_job(database)
        play(database, job, snapshot(listing(b"", dict.fromkeys(names, (1, 1)))))
        rows = [(2, 1, name, 1) for name in names]
        with database.write() as connection:
            database.location.update_many(connection, files, "gone_run_id", files.primary_key.columns.keys(), rows)
            counted = "SELECT seq_scan, n_tup_upd FROM pg_stat_xact_user_tables WHERE relname = 'files'"
            scans, updated = connection.exec_driver_sql(counted).one()
        assert (len(names), True) == (updated, scans <= 1)
