"""What the files of a message say, kept with the message.

Revision ID: 20261128_media
Revises: 20261128_spending
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261128_media"
down_revision = "20261128_spending"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("message", sa.Column("understood", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    op.drop_column("message", "understood")
