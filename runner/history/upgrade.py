"""The schema's version: checked at every opening, and brought up to date safely when it is behind."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DatabaseError

from runner.history.database import Database, Location, check_path, explain, held_upgrade_lock
from runner.model.bundled import bundled
from runner.model.errors import DatabaseUnusable

# Every schema there has been, oldest first; the last is the one this runner works with.
REVISIONS = ("0001", "0002", "0003", "0004")


def open_database(location: Location) -> Database:
    """Open a database, creating it or bringing its schema up to date first where that is needed.

    Raises:
        DatabaseUnusable: If it can't be a database of this runner.
        HistoryError: If it can't be read.
    """
    assert location.path is not None  # noqa: S101  SQLite has a file
    check_path(location.path)
    database = Database(location)
    try:
        if find_revision(database) != REVISIONS[-1]:
            upgrade(database)
    except BaseException:
        database.close()
        raise
    return database


def find_revision(database: Database) -> str | None:
    """Find the schema's revision; None for an empty database.

    Raises:
        DatabaseUnusable: If it belongs to another program or to a newer runner.
    """
    if database.location.path is not None and not database.location.path.exists():
        return None
    with database.read() as connection:
        tables = set(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars())
        if not tables:
            return None
        revision = None
        if {"alembic_version", "runs", "jobs"} <= tables:
            revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if revision is None:
        raise DatabaseUnusable(f"the database {database.location} belongs to another program; choose another with --db")
    if revision not in REVISIONS:
        raise DatabaseUnusable(
            f"the database {database.location} is from a newer runner (schema {revision}); upgrade runner, "
            "or choose another with --db"
        )
    return str(revision)


def upgrade(database: Database) -> Path | None:
    """Bring the schema up to date under a lock, after a backup.

    Returns:
        The backup made before an existing database was changed; None when there was nothing to lose.
    """
    with held_upgrade_lock(database.location):
        revision = find_revision(database)  # another process may have been faster
        if revision == REVISIONS[-1]:
            return None
        backup = None
        if revision is not None:
            assert database.location.path is not None  # noqa: S101  SQLite has a file
            backup = database.location.path.with_name(f"{database.location.path.name}.before-{REVISIONS[-1]}")
            backup.unlink(missing_ok=True)  # left by an upgrade that did not finish
            copy_database(database, backup)
        try:
            with database.engine.connect() as connection:
                # Rebuilding a table drops it, which with foreign keys on would delete what refers to it. Neither
                # setting can change within a transaction.
                driver = connection.connection.driver_connection
                assert isinstance(driver, sqlite3.Connection)  # noqa: S101
                driver.execute("PRAGMA journal_mode = WAL")
                driver.execute("PRAGMA foreign_keys = OFF")
                writing = connection.execution_options(runner_writes=True)
                with writing.begin():
                    _run_migrations(writing)
                    broken = writing.exec_driver_sql("PRAGMA foreign_key_check").first()
                    if broken is not None:
                        raise DatabaseUnusable(
                            f"the database {database.location} has rows that refer to nothing (table {broken[0]}); "
                            "see `runner db check`"
                        )
                connection.invalidate()  # its settings are not those of the others
        except DatabaseError as error:
            raise explain(error.orig, database.location) from error
        return backup


def _run_migrations(connection: Connection) -> None:
    # Alembic takes a fifth of a second to import, and is needed once in a schema's life.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(bundled("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def copy_database(database: Database, target: Path) -> None:
    """Copy a database in use, consistently, into a file that does not exist yet.

    Raises:
        DatabaseUnusable: If there is something at *target* already, or it can't be written.
    """
    partial = target.with_name(target.name + ".partial")
    try:
        if target.exists():
            raise DatabaseUnusable(f"{target} exists already; choose another name for the backup")
        partial.unlink(missing_ok=True)  # left by a copy that was killed
        with database.engine.connect() as connection, closing(sqlite3.connect(partial)) as copy:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)  # noqa: S101
            driver.backup(copy)
        partial.rename(target)
    except (sqlite3.Error, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DatabaseUnusable(f"the backup {target} can't be written: {reason}") from error
    finally:
        with suppress(OSError):  # there is none, or there can be none
            partial.unlink()
