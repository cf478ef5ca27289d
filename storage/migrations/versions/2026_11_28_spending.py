"""The ledger of provider calls, and what budgets have paid.

Revision ID: 20261128_3
Revises: 20261128_2
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import Money, UtcDateTime

revision = "20261128_3"
down_revision = "20261128_2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "model_call",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("turn_id", sa.String(length=36), nullable=True),
        sa.Column("step", sa.String(length=16), nullable=True),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.String(length=36), nullable=True),
        sa.Column("conversation_id", sa.String(length=36), nullable=True),
        sa.Column("channel", sa.String(length=40), nullable=True),
        sa.Column("account", sa.String(length=80), nullable=True),
        sa.Column("sender", sa.String(length=200), nullable=True),
        sa.Column("provider", sa.String(length=60), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("purpose", sa.String(length=20), nullable=False),
        sa.Column("modality", sa.String(length=12), nullable=False),
        sa.Column("tokens_in", sa.Integer(), nullable=False),
        sa.Column("tokens_out", sa.Integer(), nullable=False),
        sa.Column("tokens_cached", sa.Integer(), nullable=False),
        sa.Column("audio_seconds", sa.Float(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("cost", Money(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("price_source", sa.String(length=60), nullable=True),
        sa.Column("reserved", Money(), nullable=False),
        sa.Column("counted", sa.BigInteger(), nullable=False),
        sa.Column("budgets", sa.JSON(), nullable=False),
        sa.Column("outcome", sa.String(length=12), nullable=False),
        sa.Column("error_class", sa.String(length=80), nullable=True),
        sa.Column("ms", sa.Float(), nullable=True),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("started_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("closed_at", UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"]),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"]),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_model_call_day", "model_call", ["day"])
    op.create_index("ix_model_call_turn", "model_call", ["turn_id"])
    op.create_index("ix_model_call_conversation", "model_call", ["conversation_id", "day"])
    op.create_index("ix_model_call_account", "model_call", ["channel", "account", "day"])
    op.create_index("ix_model_call_sender", "model_call", ["channel", "account", "sender", "day"])
    still_open = sa.text("outcome = 'reserved'")
    op.create_index(
        "ix_model_call_open", "model_call", ["expires_at"], sqlite_where=still_open, postgresql_where=still_open
    )
    op.create_table(
        "budget_counter",
        sa.Column("scope", sa.String(length=12), nullable=False),
        sa.Column("key", sa.String(length=340), nullable=False),
        sa.Column("period", sa.String(length=10), nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("warned_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("exhausted_at", UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("scope", "key", "period"),
    )


def downgrade() -> None:
    op.drop_table("budget_counter")
    for name in ("open", "sender", "account", "conversation", "turn", "day"):
        op.drop_index(f"ix_model_call_{name}", table_name="model_call")
    op.drop_table("model_call")
