"""Runs migrations on the connection that runner hands over, or on the database named by RUNNER_DB."""

import os
from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection

from runner.history.database import Database, locate
from runner.history.tables import Instant, metadata


def render_item(_kind: str, item: Any, _context: Any) -> str | Literal[False]:
    # A migration stands for itself: it must not change its meaning when runner's own types do.
    return "sa.DateTime(timezone=True)" if isinstance(item, Instant) else False


def include_object(item: Any, _name: str | None, _kind: str, _reflected: Any, _other: Any) -> bool:
    # Alembic passes over ddl_if, and would add what is not meant for this database.
    dialect = context.get_context().dialect.name
    return bool(item.info.get("dialect", dialect) == dialect)


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        render_item=render_item,
        include_object=include_object,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


handed_over: Connection | None = context.config.attributes.get("connection")
if handed_over is not None:
    run(handed_over)
else:
    with Database(locate(os.environ["RUNNER_DB"])).write() as own:
        run(own)
