"""What an index that is being built already holds.

Revision ID: 20261127_1
Revises: 20261123_2
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261127_1"
down_revision = "20261123_2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "vector_built",
        sa.Column("index_id", sa.String(length=36), nullable=False),
        sa.Column("phrase_id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("index_id", "phrase_id"),
    )


def downgrade() -> None:
    op.drop_table("vector_built")
