"""Where assignments began, so that a record that kills the process is found."""

from __future__ import annotations

from alembic import op

from app.migrations import statements

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    for statement in statements("0002_assignments.sql"):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """There is no way back that keeps the data: restore a backup."""
    raise NotImplementedError
