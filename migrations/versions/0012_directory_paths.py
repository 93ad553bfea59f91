"""An index of the directories of a job by path, of which the first bytes fit into its entries."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_folders_path", "folders", ["job_id", sa.text("substr(path, 1, 256)")])
