"""A history in a PostgreSQL database."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event
from sqlalchemy.exc import DBAPIError

from runner.history.errors import explain_postgresql
from runner.history.location import READERS_WAIT_MS, WRITES_FOR_S, Location, Rows
from runner.history.locks import Lock, wait_for_lock
from runner.model.errors import DatabaseUnusable, HistoryError

if TYPE_CHECKING:
    import psycopg

# Parameters of a URL that are shown; others may be secret.
_SHOWN = frozenset({"host", "port", "service", "options"})
_SECRET = frozenset({"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"})
# Larger updates use a temporary table; for fewer rows its creation costs more than it saves.
_FEW = 1_000
# Without these the server keeps the locks of a lost machine for hours.
_KEEPALIVES = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}
# The same for a lost server. Seconds, but the last: milliseconds.
_DEFAULTS = {
    "connect_timeout": 15,
    "fallback_application_name": "runner",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_OWN_RELATIONS = "FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"
_OTHER_SESSIONS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
# Advisory locks belong to a database, so their second number separates the histories of its schemas.
_DAEMON_CLASS, _WRITES_CLASS = (int.from_bytes(name, "big") for name in (b"rund", b"runw"))
_DAEMON_LOCK, _WRITES_LOCK = (f"({class_}, hashtext(current_schema()))" for class_ in (_DAEMON_CLASS, _WRITES_CLASS))


@dataclass(frozen=True, kw_only=True)
class PostgresqlDatabase(Location):
    """A PostgreSQL database."""

    url: URL = field(repr=False)  # including secrets

    def __str__(self) -> str:
        url = self.url
        shown = {name: value for name, value in url.query.items() if name in _SHOWN}
        return URL.create("postgresql", url.username, None, url.host, url.port, url.database, shown).render_as_string()

    def address(self) -> str:
        """Return the URL, for files that everybody can read; raise DatabaseUnusable if it contains a password."""
        if self.url.password is not None or _SECRET & self.url.query.keys():
            raise DatabaseUnusable(
                f"the URL of the database {self} holds a password, which everybody on this machine could read there; "
                "keep the password in ~/.pgpass, or the URL as `db` in the settings file"
            )
        return self.url.render_as_string()

    def serves(self) -> bool:
        """Return True."""
        return True

    def make_engine(self, busy_timeout_s: float) -> Engine:
        """Create an engine for the server."""
        try:
            engine = create_engine(
                self.url.set(drivername="postgresql+psycopg"),
                connect_args={
                    **{name: value for name, value in _DEFAULTS.items() if name not in self.url.query},
                    "client_encoding": "utf8",
                },
                use_native_hstore=False,
                max_overflow=-1,  # see SqliteFile.make_engine
                pool_pre_ping=True,  # a run may take longer than a connection lives
            )
        except ImportError:
            raise DatabaseUnusable(
                f"the database {self} needs a driver that is not installed; "
                "install it with `pip install 'runner[postgresql]'`"
            ) from None

        def prepare(connection: "psycopg.Connection", _record: Any) -> None:
            settings = {"lock_timeout": f"{round(busy_timeout_s * 1000)}", **_KEEPALIVES}
            chosen = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in settings.items())
            connection.autocommit = True  # a rollback would undo the settings
            connection.execute(f"SELECT {chosen}")
            connection.execute(
                "SELECT set_config(name, 'on', false) FROM pg_settings "
                "WHERE name = 'synchronous_commit' AND setting = 'off'"
            )
            connection.autocommit = False

        event.listen(engine, "connect", prepare)
        event.listen(engine, "begin", partial(_begin, busy_timeout_s))
        return engine

    def explain(self, error: BaseException | None) -> HistoryError:
        """Return an error of one line for an error of the driver."""
        return explain_postgresql(f"the database {self}", error)

    @contextmanager
    def limit_time(self, connection: Connection, within_s: float) -> Iterator[None]:
        """Limit the time of each query of a transaction, which then only reads."""
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {round(within_s * 1000)}")
        connection.exec_driver_sql("SET LOCAL transaction_read_only = on")
        yield

    def insert_many(self, connection: Connection, table: Table, names: Sequence[str], rows: Rows) -> None:
        """Add rows with these columns, by COPY, which takes a tenth of the time of INSERT."""
        self._copy_in(connection, f"{table.name} ({', '.join(names)})", rows)

    def update_many(self, connection: Connection, table: Table, changed: str, keys: Sequence[str], rows: Rows) -> None:
        """Update one column of many rows; each of *rows* contains the new value, then the values of *keys*.

        Few rows are sent as arrays, in a third of the time of one statement per row. Many go through a temporary
        table: several arrays take twice as long, because the planner reads the whole table for each.
        """
        types = {name: table.c[name].type.compile(connection.dialect) for name in (changed, *keys)}
        same = " AND ".join(f"{table.name}.{name} = given.{name}" for name in keys)
        sql = f"UPDATE {table.name} SET {changed} = given.{changed} FROM {{}} WHERE {same}"  # noqa: S608  own names
        if len(rows) <= _FEW:
            arrays = ", ".join(f"%s::{type_}[]" for type_ in types.values())
            source = f"unnest({arrays}) AS given ({', '.join(types)})"
            connection.exec_driver_sql(sql.format(source), tuple(map(list, zip(*rows, strict=True))))
            return
        declared = ", ".join(f"{name} {type_}" for name, type_ in types.items())
        connection.exec_driver_sql(f"CREATE TEMPORARY TABLE given ({declared}) ON COMMIT DROP")
        self._copy_in(connection, "given", rows)
        connection.exec_driver_sql("ANALYZE given")  # autovacuum would be too late
        connection.exec_driver_sql(sql.format("given"))
        connection.exec_driver_sql("DROP TABLE given")

    def _copy_in(self, connection: Connection, target: str, rows: Rows) -> None:
        import psycopg

        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)  # noqa: S101  the engine is PostgreSQL's
        try:
            with driver.cursor() as cursor, cursor.copy(f"COPY {target} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        except psycopg.Error as error:
            raise self.explain(error) from error

    def size_bytes(self, connection: Connection) -> int:
        """Return the size of the tables and their indexes."""
        sizes = f"SELECT coalesce(sum(pg_total_relation_size(oid)), 0) {_OWN_RELATIONS}"
        return int(connection.exec_driver_sql(sizes).scalar_one())

    def compact(self, engine: Engine) -> str | None:
        """Return freed space to the file system while others wait; return the readers that prevent it, or None."""
        with engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT", runner_alone=True)
            names = alone.exec_driver_sql(f"SELECT quote_ident(relname) {_OWN_RELATIONS}").scalars().all()
            alone.exec_driver_sql(f"SET lock_timeout = {READERS_WAIT_MS}")
            try:
                alone.exec_driver_sql(f"VACUUM (FULL, ANALYZE) {', '.join(names)}")
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != "55P03":
                    raise
                return _find_sessions(alone, "xact_start IS NOT NULL") or "another program"
            finally:
                connection.invalidate()  # its timeout differs
        return None

    def find_blocker(self, connection: Connection, _daemon_pid: int) -> str | None:
        """Find the process whose write lock prevents runs from starting; return one line, or None."""
        holders = _find_holders(connection, _WRITES_CLASS, WRITES_FOR_S)
        return f"{holders} keeps the database locked" if holders else None

    def daemon_lock(self, engine: Engine) -> "SessionLock":
        """Return the daemon's lock, not yet acquired."""
        return SessionLock(engine)


class SessionLock(Lock):
    """The daemon's lock: an advisory lock on its own connection, released when that ends."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def hold(self) -> bool:
        """Acquire the lock or check that it is still held, because a restarted server has lost it."""
        if self._connection is not None:
            try:
                self._connection.exec_driver_sql("SELECT 1")
            except DBAPIError:
                self.release()
            else:
                return True
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT", runner_alone=True)
        self._connection = connection
        connection.detach()  # in the pool it would keep the lock
        if connection.exec_driver_sql(f"SELECT pg_try_advisory_lock{_DAEMON_LOCK}").scalar_one():
            return True
        self.release()
        return False

    def release(self) -> None:
        """Release the lock."""
        if self._connection is not None:
            with suppress(DBAPIError):  # it is lost, and so is the lock
                self._connection.close()
            self._connection = None

    def find_holder(self) -> str:
        """Find the other session that holds the lock, such as ``process 123 (name)``; empty if there is none."""
        with self._engine.connect() as connection, connection.begin():
            return _find_holders(connection, _DAEMON_CLASS)


def _find_holders(connection: Connection, class_: int, since_s: float = 0.0) -> str:
    """Find the other sessions that hold an advisory lock, in transactions of at least *since_s*."""
    return _find_sessions(
        connection,
        "pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = %s::oid "
        "AND objid::bigint = hashtext(current_schema())::bigint & 4294967295) "
        "AND coalesce(xact_start < clock_timestamp() - make_interval(secs => %s), true)",
        (class_, since_s),
    )


def _find_sessions(connection: Connection, condition: str, parameters: tuple[Any, ...] = ()) -> str:
    """Find other sessions of the database, such as ``process 123 (name)``; empty if there are none."""
    names = "SELECT pid, coalesce(nullif(application_name, ''), 'unknown')"
    rows = connection.exec_driver_sql(f"{names} {_OTHER_SESSIONS} AND {condition} ORDER BY pid", parameters)
    return ", ".join(f"process {pid} ({name})" for pid, name in rows)


def _begin(busy_timeout_s: float, connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("runner_alone", False):
        return
    if not options.get("runner_writes", False):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return
    waits_s = options.get("runner_waits_s")
    if waits_s is not None:  # 0 would mean no limit
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, round(waits_s * 1000))}")

    def take() -> None:
        if not connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock{_WRITES_LOCK}").scalar_one():
            raise BlockingIOError

    # The server's own wait would neither warn nor end on a signal.
    try:
        wait_for_lock(
            take,
            within_s=busy_timeout_s,
            what=f"the database {connection.engine.url.database}",
            find_holder=lambda: _find_holders(connection, _WRITES_CLASS),
            give_up=options.get("runner_gives_up", bool),
        )
    except BlockingIOError:
        connection.exec_driver_sql("SET LOCAL lock_timeout = 1")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock{_WRITES_LOCK}")
