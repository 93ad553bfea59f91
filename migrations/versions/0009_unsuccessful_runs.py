"""An index of the runs that did not succeed, which are few and often looked for."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    unsuccessful = sa.text("status != 'succeeded'")
    op.create_index("ix_runs_unsuccessful", "runs", ["id"], sqlite_where=unsuccessful, postgresql_where=unsuccessful)
