"""Settings of a SQLite connection, and the beginning of its transactions."""

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from runner.history.locks import wait_for_lock
from runner.history.walfile import WAL_LIMIT_BYTES, find_writers

_PRAGMAS = (
    "foreign_keys = ON",
    "synchronous = FULL",
    "temp_store = MEMORY",
    f"journal_size_limit = {WAL_LIMIT_BYTES}",
)


def driver_of(connection: Connection) -> sqlite3.Connection:
    """Return the connection of the sqlite3 module."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101  of a SQLite engine
    return driver


def prepare_engine(engine: Engine) -> Engine:
    """Configure an engine so that its transactions begin explicitly; return it."""
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare_connection(connection: sqlite3.Connection, _record: Any) -> None:
    # Otherwise the driver begins transactions by its own rules, and none for reading.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("runner_alone", False):
        return
    if not options.get("runner_writes", False):
        connection.exec_driver_sql("BEGIN")
        return
    driver, path = driver_of(connection), Path(connection.engine.url.database or "")
    [timeout_ms] = driver.execute("PRAGMA busy_timeout").fetchone()

    def begin() -> None:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            raise BlockingIOError from error

    # SQLite's own wait for another writer would neither warn nor end on a signal.
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        wait_for_lock(
            begin,
            within_s=timeout_ms / 1000,
            what=f"the database {path}",
            find_holder=lambda: ", ".join(find_writers(path.resolve())),
            give_up=options.get("runner_gives_up", bool),
        )
    except (BlockingIOError, sqlite3.OperationalError):
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # to raise SQLAlchemy's error
    finally:
        driver.execute(f"PRAGMA busy_timeout = {timeout_ms}")
