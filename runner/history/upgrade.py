"""The schema's version: checked at each opening, and upgraded if it is older."""

from sqlalchemy import Connection, inspect

from runner.history.backend import Backend
from runner.history.database import Database
from runner.model.bundled import bundled
from runner.model.errors import DatabaseUnusable

# All schema revisions, oldest first; this runner works with the last.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011", "0012")


def open_database(location: Backend) -> Database:
    """Return an open database, after creating it or upgrading its schema if needed; raise HistoryError if it can't."""
    location = location.check()
    database = Database(location)
    try:
        revision = find_revision(database)
        if revision != REVISIONS[-1]:
            what = f"its schema {revision} is an older one" if revision is not None else "it is empty"
            location.refuse_writing(f", and {what}, which can't be upgraded there")
            _upgrade(database)
    except BaseException:
        database.close()
        raise
    return database


def find_revision(database: Database) -> str | None:
    """Find the revision of the schema, None for an empty database; raise DatabaseUnusable if it is not runner's."""
    if not database.location.exists():
        return None
    with database.read() as connection:
        tables = set(inspect(connection).get_table_names())
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


def _upgrade(database: Database) -> None:
    location = database.location
    with database.translate_errors(), location.upgrade_lock():
        revision = find_revision(database)  # another process may have upgraded it
        if revision != REVISIONS[-1]:
            with location.migrating(database.engine, revision, REVISIONS[-1]) as connection:
                _run_migrations(connection)


def _run_migrations(connection: Connection) -> None:
    # Importing Alembic takes 0.2 s, and it is needed once per schema.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(bundled("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
