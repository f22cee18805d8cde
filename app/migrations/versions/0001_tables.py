"""Customers, their patients, and the answers that were given."""

from __future__ import annotations

from alembic import op

from app.migrations import statements

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    for statement in statements("0001_tables.sql"):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """There is no way back that keeps the data: restore a backup."""
    raise NotImplementedError
