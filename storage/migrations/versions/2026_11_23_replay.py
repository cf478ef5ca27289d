"""Rounds of a turn, crashes of a step, and the request for a replay.

Revision ID: 20261123_2
Revises: 20261123_1
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261123_2"
down_revision = "20261123_1"
branch_labels = None
depends_on = None

_ASKED = sa.text("replay_from IS NOT NULL")


def upgrade() -> None:
    with op.batch_alter_table("turn") as turn:
        turn.add_column(sa.Column("crashes", sa.Integer(), nullable=False, server_default="0"))
        turn.add_column(sa.Column("round", sa.Integer(), nullable=False, server_default="0"))
        turn.add_column(sa.Column("replay_from", sa.String(length=16), nullable=True))
        turn.drop_index("ix_turn_conversation_id")
        turn.create_index("ix_turn_conversation", ["conversation_id", "created_at"])
        turn.create_index(
            "ix_turn_replay", ["conversation_id", "created_at"], sqlite_where=_ASKED, postgresql_where=_ASKED
        )
    with op.batch_alter_table("step_run") as step_run:
        step_run.add_column(sa.Column("round", sa.Integer(), nullable=False, server_default="0"))
        step_run.drop_constraint("uq_step_run_attempt", type_="unique")
        step_run.create_unique_constraint("uq_step_run_attempt", ["turn_id", "step", "round", "attempt"])
    with op.batch_alter_table("outbox") as outbox:
        outbox.add_column(sa.Column("round", sa.Integer(), nullable=False, server_default="0"))
        outbox.drop_constraint("uq_outbox_part", type_="unique")
        outbox.create_unique_constraint("uq_outbox_part", ["turn_id", "kind", "round", "part"])


def downgrade() -> None:
    with op.batch_alter_table("outbox") as outbox:
        outbox.drop_constraint("uq_outbox_part", type_="unique")
        outbox.drop_column("round")
        outbox.create_unique_constraint("uq_outbox_part", ["turn_id", "kind", "part"])
    with op.batch_alter_table("step_run") as step_run:
        step_run.drop_constraint("uq_step_run_attempt", type_="unique")
        step_run.drop_column("round")
        step_run.create_unique_constraint("uq_step_run_attempt", ["turn_id", "step", "attempt"])
    with op.batch_alter_table("turn") as turn:
        turn.drop_index("ix_turn_replay")
        turn.drop_index("ix_turn_conversation")
        turn.create_index("ix_turn_conversation_id", ["conversation_id"])
        turn.drop_column("replay_from")
        turn.drop_column("round")
        turn.drop_column("crashes")
