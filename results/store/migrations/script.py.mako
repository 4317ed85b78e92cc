"""${message}."""

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Bring a store from the revision before to this one."""
    ${upgrades if upgrades else "raise NotImplementedError"}
