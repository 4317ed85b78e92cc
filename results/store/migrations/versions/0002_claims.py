"""Claims: which driver runs which trial, and until when."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table; spelled out, because this file must not change when results.store.schema
    does.
    """
    op.create_table(
        "claims",
        sa.Column("trial_id", sa.String(16), primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
