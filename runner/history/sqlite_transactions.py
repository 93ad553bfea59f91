"""How a connection to a SQLite file is set up, and how its transactions begin."""

import logging
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from runner.history.waiting import wait_for_lock
from runner.history.walfile import WAL_LIMIT_BYTES, find_writers

_log = logging.getLogger(__name__)

_PRAGMAS = (
    "foreign_keys = ON",
    "synchronous = FULL",
    "temp_store = MEMORY",
    f"journal_size_limit = {WAL_LIMIT_BYTES}",
)


def driver_of(connection: Connection) -> sqlite3.Connection:
    """Return the driver's own connection."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101  the engine is SQLite's
    return driver


def prepare_engine(engine: Engine) -> Engine:
    """Set up an engine whose transactions begin explicitly."""
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare_connection(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver would begin transactions by its own rules, and none at all for reading.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
    finally:
        cursor.close()


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("runner_alone", False):
        return
    if connection.get_execution_options().get("runner_writes", False):
        _begin_writing(connection)
    else:
        connection.exec_driver_sql("BEGIN")


def _begin_writing(connection: Connection) -> None:
    """Begin a transaction that writes. SQLite's own wait for another one would neither end on a signal nor report."""
    driver, path = driver_of(connection), Path(connection.engine.url.database or "")
    [timeout_ms] = driver.execute("PRAGMA busy_timeout").fetchone()

    def begin() -> None:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            raise BlockingIOError from error

    def report() -> None:
        holder = ", ".join(find_writers(path.resolve())) or "another program"
        _log.warning("waiting for the database %s, locked by %s", path, holder)

    give_up = connection.get_execution_options().get("runner_gives_up", bool)
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        wait_for_lock(begin, within_s=timeout_ms / 1000, on_wait=report, give_up=give_up)
    except (BlockingIOError, sqlite3.OperationalError):
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # so that the error is SQLAlchemy's
    finally:
        driver.execute(f"PRAGMA busy_timeout = {timeout_ms}")
