"""What the model of an index is loaded by, so that workers follow an index to another model.

Revision ID: 20261128_1
Revises: 20261127_4
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261128_1"
down_revision = "20261127_4"
branch_labels = None
depends_on = None

COLUMNS = ("setting", "query_prefix", "passage_prefix")


def upgrade() -> None:
    with op.batch_alter_table("vector_index") as table:
        for name in COLUMNS:
            table.add_column(sa.Column(name, sa.String(length=500), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("vector_index") as table:
        for name in COLUMNS:
            table.drop_column(name)
