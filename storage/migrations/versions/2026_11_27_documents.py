"""Documents, and who sees an item of the knowledge base and when.

Revision ID: 20261127_2
Revises: 20261127_1
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import UtcDateTime

revision = "20261127_2"
down_revision = "20261127_1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "knowledge_document",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("location_digest", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("updated_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("location_digest", name="uq_document_location"),
    )
    # Added one by one: to make the table anew would, on SQLite, delete the phrases that refer to it.
    op.add_column("knowledge_item", sa.Column("valid_from", UtcDateTime(timezone=True), nullable=True))
    op.add_column("knowledge_item", sa.Column("valid_until", UtcDateTime(timezone=True), nullable=True))
    op.add_column("knowledge_item", sa.Column("channels", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("knowledge_item", sa.Column("languages", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("knowledge_item", sa.Column("document_id", sa.String(length=36), nullable=True))
    op.add_column("knowledge_item", sa.Column("heading", sa.Text(), nullable=True))
    op.add_column("knowledge_item", sa.Column("page", sa.Integer(), nullable=True))
    op.create_index("ix_knowledge_item_document_id", "knowledge_item", ["document_id"])


def downgrade() -> None:
    # Without its document a passage would be there for good.
    op.execute(
        "DELETE FROM knowledge_phrase WHERE item_id IN (SELECT id FROM knowledge_item WHERE document_id IS NOT NULL)"
    )
    op.execute("DELETE FROM knowledge_item WHERE document_id IS NOT NULL")
    op.drop_index("ix_knowledge_item_document_id", "knowledge_item")
    for column in ("page", "heading", "document_id", "languages", "channels", "valid_until", "valid_from"):
        op.drop_column("knowledge_item", column)
    op.drop_table("knowledge_document")
