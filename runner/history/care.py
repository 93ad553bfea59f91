"""Looking after the database: is it sound, how large is it, and giving back what it no longer needs."""

from sqlalchemy import and_, func, or_, select

from runner.history.database import Database
from runner.history.tables import files, folders, problems

_MOST = 20


def size_bytes(database: Database) -> int:
    """Tell how large the database is, all of its pages together."""
    with database.read() as connection:
        pages, page = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size")
        )
    return int(pages * page)


def compact(database: Database) -> None:
    """Give the room that was freed back to the file system; others wait meanwhile.

    Raises:
        HistoryError: If the database is locked for too long.
    """
    with database.alone() as connection:
        connection.exec_driver_sql("VACUUM")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def find_faults(database: Database) -> list[str]:
    """Look for damage, and for what no run could have written; one line for each fault, at most twenty of a kind."""
    faults = []
    with database.read() as connection:
        for (line,) in connection.exec_driver_sql(f"PRAGMA integrity_check({_MOST})"):
            if line != "ok":
                faults.append(f"damage: {line}")
        for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(_MOST):
            faults.append(f"row {row} of {table} refers to a row of {parent} that is not there")
        for table, name in ((files, "file"), (problems, "problem")):
            reversed_ = select(func.count()).where(table.c.gone_run_id <= table.c.first_run_id)
            if count := connection.execute(reversed_).scalar_one():
                faults.append(f"{count} {name} intervals end before they begin")
        other = files.alias()
        overlapping = (
            select(func.count())
            .select_from(files)
            .join(
                other,
                and_(
                    files.c.folder_id == other.c.folder_id,
                    files.c.name == other.c.name,
                    files.c.first_run_id < other.c.first_run_id,
                ),
            )
            .where(or_(files.c.gone_run_id.is_(None), files.c.gone_run_id > other.c.first_run_id))
        )
        if count := connection.execute(overlapping).scalar_one():
            faults.append(f"{count} file intervals overlap another of the same file")
        strays = select(func.count()).select_from(files).join(folders).where(files.c.job_id != folders.c.job_id)
        if count := connection.execute(strays).scalar_one():
            faults.append(f"{count} files are filed under another job than their folder")
    return faults
