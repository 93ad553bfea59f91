"""A history in a PostgreSQL database."""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Column, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from runner.history.postgresql_errors import explain
from runner.history.serverlocks import WRITES_CLASS, WRITES_LOCK, NoLock, SessionLock, find_holders
from runner.history.waiting import wait_for_lock
from runner.model.errors import DatabaseUnusable, HistoryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

_log = logging.getLogger(__name__)

# Parameters of a URL that say where a database is; of the others, some are secret.
_SHOWN = frozenset({"host", "port", "service", "options"})
_SECRET = frozenset({"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"})
# A server that does not answer at all is waited for no longer than this.
_CONNECT_TIMEOUT_S = 15
# Who writes for longer keeps others waiting that they notice it.
_WRITES_FOR_S = 1.0
# More rows than this at once are changed by way of a temporary table, which is not worth its making for fewer.
_FEW = 1_000
# So long readers are waited for when room is given back; a longer one does not end soon.
_READERS_WAIT_MS = 1_000
# The server would else keep the locks of a machine that has gone for hours.
_KEEPALIVES = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}
# Nor would this side notice that the server's machine has gone. Seconds, but the last: milliseconds.
_NOTICE_A_DEAD_SERVER = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_OWN_RELATIONS = "FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"


@dataclass(frozen=True, kw_only=True, slots=True)
class PostgresqlDatabase:
    """Where a PostgreSQL database is.

    Attributes:
        url: Its SQLAlchemy URL, secrets included.
    """

    url: URL = field(repr=False)

    def __str__(self) -> str:
        url = self.url
        shown = {name: value for name, value in url.query.items() if name in _SHOWN}
        return URL.create("postgresql", url.username, None, url.host, url.port, url.database, shown).render_as_string()

    def address(self) -> str:
        """Give its URL.

        Raises:
            DatabaseUnusable: If there is a password in it.
        """
        if self.url.password is not None or _SECRET & self.url.query.keys():
            raise DatabaseUnusable(
                f"the URL of the database {self} holds a password, which everybody on this machine could read there; "
                "keep the password in ~/.pgpass, or the URL as `db` in the settings file"
            )
        return self.url.render_as_string()

    def serves(self) -> bool:
        """Whether it is a server."""
        return True

    def check(self) -> None:
        """Nothing is known before the server is asked."""

    def exists(self) -> bool:
        """Whether there is anything to be opened: the server creates no database by being asked for one."""
        return True

    @property
    def read_only(self) -> bool:
        """Whether it is known that nothing can be written: a server says so when it is asked to."""
        return False

    def refuse_writing(self, but: str = "") -> None:
        """Refuse nothing: the server does."""

    def permitted(self) -> "PostgresqlDatabase":
        """Give itself."""
        return self

    def make_engine(self, busy_timeout_s: float) -> Engine:
        """Make an engine whose writing transactions wait for each other from their beginning.

        Raises:
            DatabaseUnusable: If the driver is missing, or can't read the URL.
        """
        defaults = {
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "fallback_application_name": "runner",
            **_NOTICE_A_DEAD_SERVER,
        }
        try:
            engine = create_engine(
                self.url.set(drivername="postgresql+psycopg"),
                connect_args={
                    **{name: value for name, value in defaults.items() if name not in self.url.query},
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
            connection.autocommit = True  # or a transaction that is rolled back would take them along
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
        """Say in one line what a driver's error means for a person."""
        return explain(f"the database {self}", error)

    def upgrade_lock(self) -> AbstractContextManager[object]:
        """Lock nothing: a writing transaction is alone, and Alembic asks for the revision within it."""
        return nullcontext()

    @contextmanager
    def migrating(self, engine: Engine, _revision: str | None, _newest: str) -> "Iterator[Connection]":
        """Give a transaction for migrations; there is no backup, as a failed one leaves everything as it was."""
        with engine.connect() as connection:
            writing = connection.execution_options(runner_writes=True)
            with writing.begin():
                yield writing

    def insert_many(
        self, connection: Connection, columns: Sequence[Column[Any]], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert rows by COPY, at a tenth of what INSERT costs.

        Raises:
            HistoryError: If they can't be.
        """
        self._copy_in(connection, str(columns[0].table), columns, rows)

    def update_many(
        self,
        connection: Connection,
        keys: Sequence[Column[Any]],
        changed: Sequence[Column[Any]],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """Change columns of the rows that have these keys; each of *rows* gives the keys, then what they get.

        A few go there as arrays, at a third of what a statement for each costs. Many go into a temporary table: in
        parts they cost twice as much, as for each part the planner rather reads the whole table.

        Raises:
            HistoryError: If they can't be.
        """
        columns = (*keys, *changed)
        if len(rows) <= _FEW:
            types = (column.type.compile(connection.dialect) for column in columns)
            names = ", ".join(column.name for column in columns)
            source = f"unnest({', '.join(f'%s::{type_}[]' for type_ in types)}) AS given ({names})"
            connection.exec_driver_sql(_update_sql(keys, changed, source), tuple(map(list, zip(*rows, strict=True))))
            return
        types = (f"{column.name} {column.type.compile(connection.dialect)}" for column in columns)
        connection.exec_driver_sql(f"CREATE TEMPORARY TABLE given ({', '.join(types)}) ON COMMIT DROP")
        self._copy_in(connection, "given", columns, rows)
        connection.exec_driver_sql("ANALYZE given")  # nobody does it in time for a table that was just made
        connection.exec_driver_sql(_update_sql(keys, changed, "given"))
        connection.exec_driver_sql("DROP TABLE given")

    def _copy_in(
        self, connection: Connection, table: str, columns: Sequence[Column[Any]], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        import psycopg

        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)  # noqa: S101  the engine is PostgreSQL's
        names = ", ".join(column.name for column in columns)
        try:
            with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        except psycopg.Error as error:
            raise self.explain(error) from error

    def size_bytes(self, connection: Connection) -> int:
        """Tell how large the tables are, with their indexes."""
        sizes = f"SELECT coalesce(sum(pg_total_relation_size(oid)), 0) {_OWN_RELATIONS}"
        return int(connection.exec_driver_sql(sizes).scalar_one())

    def compact(self, engine: Engine) -> bool:
        """Give the room that was freed back to the file system; others wait meanwhile.

        Returns:
            Whether it was; where others read for long it is used again by later runs, but stays the database's.
        """
        with engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT", runner_alone=True)
            names = alone.exec_driver_sql(f"SELECT quote_ident(relname) {_OWN_RELATIONS}").scalars().all()
            alone.exec_driver_sql(f"SET lock_timeout = {_READERS_WAIT_MS}")
            try:
                alone.exec_driver_sql(f"VACUUM (FULL, ANALYZE) {', '.join(names)}")
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != "55P03":
                    raise
                return False
            finally:
                connection.invalidate()  # its timeout is not that of the others
        return True

    def trim(self, _engine: Engine) -> None:
        """Do nothing: the server keeps its own logs in bounds."""

    def find_readers(self, engine: Engine) -> list[str]:
        """Find who else has a transaction open that may be waited for."""
        with engine.connect() as connection:
            rows = connection.exec_driver_sql(
                "SELECT pid, coalesce(nullif(application_name, ''), 'unknown') FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL ORDER BY pid"
            )
            return [f"process {pid} ({name})" for pid, name in rows]

    def find_blocker(self, connection: Connection, _daemon_pid: int) -> str | None:
        """Find who keeps runs from starting by the lock of what writes; a line about it, or None."""
        holders = find_holders(connection, WRITES_CLASS, _WRITES_FOR_S)
        return f"{holders} keeps the database locked" if holders else None

    def find_reader_warning(self) -> None:
        """Find nothing: the server keeps its own logs in bounds."""

    def find_wide_modes(self) -> list[str]:
        """Find nothing: the server's files are its own."""
        return []

    def find_damage(self, _connection: Connection) -> list[str]:
        """Find nothing: the server keeps references itself, and has tools of its own for its pages."""
        return []

    def copy(self, _engine: Engine, _target: Path) -> None:
        """Refuse.

        Raises:
            DatabaseUnusable: Always; the server has a tool of its own.
        """
        raise DatabaseUnusable(f"a PostgreSQL database is copied by its own tool: pg_dump --file=FILE '{self}'")

    def run_lock(self) -> NoLock:
        """Give what locks nothing: a server forgets the locks of what goes on while it is restarted."""
        return NoLock()

    def is_deserted(self) -> bool:
        """Never be certain; a run in a container that is gone is ended by who cancels it, or by the next daemon."""
        return False

    def daemon_lock(self, engine: Engine) -> SessionLock:
        """Give the lock of the daemon, which the server releases when the connection ends."""
        return SessionLock(engine)


def _update_sql(keys: Sequence[Column[Any]], changed: Sequence[Column[Any]], source: str) -> str:
    table = keys[0].table
    new = ", ".join(f"{column.name} = given.{column.name}" for column in changed)
    same = " AND ".join(f"{table}.{column.name} = given.{column.name}" for column in keys)
    return f"UPDATE {table} SET {new} FROM {source} WHERE {same}"  # noqa: S608  names of this schema


def _begin(busy_timeout_s: float, connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("runner_alone", False):
        return
    if not options.get("runner_writes", False):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return
    waits_s = options.get("runner_waits_s")
    if waits_s is not None:  # none at all would be to wait for ever
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, round(waits_s * 1000))}")

    def take() -> None:
        # What a statement sees was committed before it began, and nobody else commits from here on.
        if not connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock{WRITES_LOCK}").scalar_one():
            raise BlockingIOError

    def report() -> None:
        holders = find_holders(connection, WRITES_CLASS) or "another program"
        _log.warning("waiting for the database %s, locked by %s", connection.engine.url.database, holders)

    # The server's own wait would neither report nor end when this process is to end.
    try:
        wait_for_lock(take, within_s=busy_timeout_s, on_wait=report, give_up=options.get("runner_gives_up", bool))
    except BlockingIOError:
        connection.exec_driver_sql("SET LOCAL lock_timeout = 1")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock{WRITES_LOCK}")
