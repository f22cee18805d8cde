"""An index by which old answers are found."""

from __future__ import annotations

from alembic import op

from app.migrations import statements

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index, unless it is there."""
    for statement in statements("0003_received_at.sql"):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """There is no way back that keeps the data: restore a backup."""
    raise NotImplementedError
