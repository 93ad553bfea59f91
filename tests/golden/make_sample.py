"""Make the sample database again: ``PYTHONHASHSEED=0 PYTHONPATH=tests .venv/bin/python tests/golden/make_sample.py``.

Its schema is 0006 for good: once there is a newer one, the files that this has made are what that is upgraded from.
Remove this and ``golden_history.py`` when the functions of the product that they call are gone.
"""

import sqlite3
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from golden_history import write_history
from golden_sample import FOLDER, write_rows
from postgresql_server import running_server
from sqlalchemy import select

from runner.history.database import locate
from runner.history.tables import metadata
from runner.history.upgrade import REVISIONS, open_database


def make_sample() -> None:
    """Write the rows, and the tables of both kinds of database."""
    assert REVISIONS[-1] == "0006"
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "runner.db")
        database = open_database(locate(str(path)))
        write_history(database)
        rows: list[tuple[str, dict[str, Any]]] = [("alembic_version", {"version_num": REVISIONS[-1]})]
        with database.read() as connection:
            for table in metadata.sorted_tables:
                query = select(table).order_by(*table.primary_key)
                rows += ((table.name, dict(row._mapping)) for row in connection.execute(query))
        database.close()
        write_rows(rows)
        with closing(sqlite3.connect(path)) as connection:
            made = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
            statements = [sql for (sql,) in connection.execute(made)]
    (FOLDER / "schema-sqlite.sql").write_text("".join(f"{sql.strip()};\n\n" for sql in statements), "utf-8")
    with running_server() as server:
        server.do("CREATE DATABASE kept TEMPLATE template0")
        open_database(locate(server.url("kept"))).close()
        dump = ["pg_dump", "--schema-only", "--no-owner", f"--host={server.folder}", "-Urunner", "kept"]
        dumped = subprocess.run(dump, check=True, stdout=subprocess.PIPE, text=True).stdout
    kept = [line for line in dumped.splitlines() if line and not line.startswith(("--", "SET ", "SELECT ", "\\"))]
    (FOLDER / "schema-postgresql.sql").write_text("\n".join(kept) + "\n", "utf-8")


if __name__ == "__main__":
    make_sample()
