"""The first store: sweeps, victims, trials, curves, scores, and which sweep holds which trial."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table; spelled out, because this file must not change when results.store.schema
    does.
    """
    json = sa.JSON(none_as_null=True)
    op.create_table(
        "sweeps",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("spec", json, nullable=False),
        sa.Column("created", sa.Text, nullable=False),
    )
    op.create_table(
        "victims",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("spec", json, nullable=False),
    )
    op.create_table(
        "trials",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("victim_id", sa.String(16), sa.ForeignKey("victims.id"), nullable=False),
        sa.Column("game", sa.Text, nullable=False),
        sa.Column("method", sa.Text),
        sa.Column("trusted", sa.Float, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("spec", json, nullable=False),
        sa.Column("asked", json, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("seconds", sa.Float),
        sa.Column("provenance", json),
        sa.Column("finished", sa.Text),
        sa.CheckConstraint(
            "status in ('planned', 'done', 'failed', 'pruned')", name="trials_status"
        ),
    )
    op.create_table(
        "curves",
        sa.Column("trial_id", sa.String(16), sa.ForeignKey("trials.id"), primary_key=True),
        sa.Column("step", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("cda", sa.Float, nullable=False),
        sa.Column("asr", sa.Float, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("more", json),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "scores",
        sa.Column("trial_id", sa.String(16), sa.ForeignKey("trials.id"), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Float, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sweep_trials",
        sa.Column("sweep", sa.Text, sa.ForeignKey("sweeps.name"), primary_key=True),
        sa.Column("trial_id", sa.String(16), sa.ForeignKey("trials.id"), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("sweep_trials_position", "sweep_trials", ["sweep", "position"])
