"""How often incremental scans verify themselves; calibrations."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not as a batch, which would rebuild the table: adding a column is all that is needed.
    op.add_column("jobs", sa.Column("full_every_s", sa.Integer(), nullable=False, server_default=sa.text("86400")))
