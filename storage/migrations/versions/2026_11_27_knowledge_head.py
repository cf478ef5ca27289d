"""Classifiers trained from the knowledge base.

Revision ID: 20261127_4
Revises: 20261127_3
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import UtcDateTime

revision = "20261127_4"
down_revision = "20261127_3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "knowledge_head",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("embedder", sa.String(length=200), nullable=False),
        sa.Column("revision", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_knowledge_head_embedder", "knowledge_head", ["embedder", "id"])


def downgrade() -> None:
    op.drop_table("knowledge_head")
