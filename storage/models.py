"""The tables. Times are aware UTC datetimes; money is a decimal kept as text, unrounded."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlmodel import Field, SQLModel

from ragline.ids import new_id
from storage.columns import Money, now, when


class Conversation(SQLModel, table=True):
    """One customer on one account of one channel. Its row is the lock that orders everything in it."""

    __tablename__: ClassVar[Any] = "conversation"
    __table_args__ = (UniqueConstraint("channel", "account", "key", name="uq_conversation_key"),)

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    channel: str = Field(max_length=40)
    account: str = Field(max_length=80)
    key: str = Field(max_length=200)
    last_seq: int = Field(default=0, description="Last number given to a message or a sent answer.")
    mode: str = Field(default="bot", max_length=8, description="bot | human")
    offered: bool = Field(
        default=False,
        sa_column_kwargs={"server_default": false()},
        description="Items were offered to choose from, so that what comes may be a choice.",
    )
    locale: str | None = Field(default=None, max_length=16)
    sender_id: str | None = Field(default=None, max_length=200)
    sender_name: str | None = Field(default=None, max_length=200)
    address: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    created_at: datetime = now()
    updated_at: datetime = now()


class Message(SQLModel, table=True):
    """One inbound event, durable before the channel hears 200. ``turn_id`` is null while unanswered."""

    __tablename__: ClassVar[Any] = "message"
    __table_args__ = (
        UniqueConstraint("channel", "account", "conversation_id", "external_id", name="uq_message_external"),
        UniqueConstraint("channel", "account", "update_key", name="uq_message_update"),
        UniqueConstraint("conversation_id", "seq", name="uq_message_seq"),
        Index(
            "ix_message_waiting",
            "conversation_id",
            "received_at",
            sqlite_where=text("turn_id IS NULL AND answerable"),
            postgresql_where=text("turn_id IS NULL AND answerable"),
        ),
        Index("ix_message_received_at", "received_at", "id"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    conversation_id: str = Field(foreign_key="conversation.id", max_length=36)
    channel: str = Field(max_length=40)
    account: str = Field(max_length=80)
    external_id: str = Field(max_length=200)
    update_key: str | None = Field(default=None, max_length=200)
    seq: int
    kind: str = Field(max_length=16)
    answerable: bool = True
    text: str = Field(default="", sa_type=Text)
    edited_at: datetime | None = when()
    fingerprint: str = Field(max_length=64, description="SHA-256 of the content: tells a repeat from a conflict.")
    envelope: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    turn_id: str | None = Field(default=None, foreign_key="turn.id", index=True, max_length=36)
    understood: list[dict[str, Any]] | None = Field(
        default=None,
        sa_column=Column(JSON(none_as_null=True), nullable=True),
        description="What its files say, one entry a file (storage.understanding); null: not read, or it has none.",
    )
    received_at: datetime = now()


class Turn(SQLModel, table=True):
    """The unit of answering: some messages of one conversation, four or five steps, one answer."""

    __tablename__: ClassVar[Any] = "turn"
    __table_args__ = (
        Index(
            "uq_turn_active",
            "conversation_id",
            unique=True,
            sqlite_where=text("status = 'processing'"),
            postgresql_where=text("status = 'processing'"),
        ),
        Index(
            "ix_turn_sweep",
            "due_at",
            sqlite_where=text("status = 'processing'"),
            postgresql_where=text("status = 'processing'"),
        ),
        Index(
            "ix_turn_replay",
            "conversation_id",
            "created_at",
            sqlite_where=text("replay_from IS NOT NULL"),
            postgresql_where=text("replay_from IS NOT NULL"),
        ),
        Index("ix_turn_conversation", "conversation_id", "created_at"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    conversation_id: str = Field(foreign_key="conversation.id", max_length=36)
    status: str = Field(
        default="processing",
        max_length=16,
        description="processing | answered | failed | undeliverable | suggested",
    )
    step: str | None = Field(default="classify", max_length=16, description="The step to do next, or that failed.")
    attempt: int = Field(default=0, description="Attempts of the current step so far, crashes included.")
    crashes: int = Field(default=0, description="Attempts of the current step whose process died.")
    round: int = Field(default=0, description="Replays so far.")
    replay_from: str | None = Field(
        default=None, max_length=16, description="A replay is asked for: the step to begin at, or `send`."
    )
    lease: str | None = Field(default=None, max_length=36, description="Token of the attempt that holds the step.")
    due_at: datetime | None = when()
    error: str | None = Field(default=None, sa_type=Text)
    error_class: str | None = Field(default=None, max_length=80)
    mode: str | None = Field(default=None, max_length=16, description="Answer mode, once generated.")
    created_at: datetime = now()
    closed_at: datetime | None = when()


class StepRun(SQLModel, table=True):
    """The ledger: one row an attempt of a step, with its result, tokens, cost and time."""

    __tablename__: ClassVar[Any] = "step_run"
    __table_args__ = (
        UniqueConstraint("turn_id", "step", "round", "attempt", name="uq_step_run_attempt"),
        Index("ix_step_run_started_at", "started_at"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    turn_id: str = Field(foreign_key="turn.id", max_length=36)
    step: str = Field(max_length=16)
    round: int = Field(default=0, description="The turn's round: 0, or the number of its replay.")
    attempt: int
    outcome: str = Field(max_length=12, description="ok | retry | failed")
    ms: float = Field(description="Wall time of the step's own work, milliseconds.")
    tokens_in: int = 0
    tokens_out: int = 0
    cost: Decimal | None = Field(
        default=Decimal(0),
        sa_type=Money,
        description="In the ledger's currency; null when the model has no known price.",
    )
    model: str | None = Field(default=None, max_length=120)
    template: str | None = Field(default=None, max_length=80)
    template_version: str | None = Field(default=None, max_length=20)
    result: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    error: str | None = Field(default=None, sa_type=Text)
    error_class: str | None = Field(default=None, max_length=80)
    started_at: datetime = now()


class Outbox(SQLModel, table=True):
    """What is to be sent. ``seq`` is given when it is sent, from the conversation's own counter."""

    __tablename__: ClassVar[Any] = "outbox"
    __table_args__ = (
        UniqueConstraint("turn_id", "kind", "round", "part", name="uq_outbox_part"),
        UniqueConstraint("conversation_id", "seq", name="uq_outbox_seq"),
        Index(
            "ix_outbox_open",
            "due_at",
            sqlite_where=text("status IN ('pending', 'sending')"),
            postgresql_where=text("status IN ('pending', 'sending')"),
        ),
        Index("ix_outbox_external", "conversation_id", "external_id"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    turn_id: str = Field(foreign_key="turn.id", max_length=36)
    conversation_id: str = Field(foreign_key="conversation.id", max_length=36)
    kind: str = Field(max_length=12, description="answer | notice | operator")
    round: int = Field(default=0, description="The turn's round that made it.")
    part: int = 0
    body: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    status: str = Field(default="pending", max_length=12, description="pending | sending | sent | failed | ambiguous")
    attempts: int = 0
    resent: bool = Field(default=False, description="Was ambiguous once and was sent again.")
    due_at: datetime = now()
    external_id: str | None = Field(default=None, max_length=200)
    error: str | None = Field(default=None, sa_type=Text)
    error_class: str | None = Field(default=None, max_length=80)
    seq: int | None = None
    created_at: datetime = now()
    sent_at: datetime | None = when()


class FloodWait(SQLModel, table=True):
    """A wait the channel asked for: for one chat, or for the whole account (``chat`` empty)."""

    __tablename__: ClassVar[Any] = "flood_wait"

    channel: str = Field(primary_key=True, max_length=40)
    account: str = Field(primary_key=True, max_length=80)
    chat: str = Field(default="", primary_key=True, max_length=200)
    until: datetime = when(nullable=False)


class RedFlag(SQLModel, table=True):
    """A question nobody answered well, for a person to look at."""

    __tablename__: ClassVar[Any] = "red_flag"
    __table_args__ = (
        UniqueConstraint("turn_id", "cause", name="uq_red_flag_turn"),
        Index("ix_red_flag_status", "status", "created_at"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    turn_id: str = Field(foreign_key="turn.id", max_length=36)
    conversation_id: str = Field(foreign_key="conversation.id", max_length=36)
    message_id: str | None = Field(default=None, foreign_key="message.id", max_length=36)
    cause: str = Field(max_length=40, description="no_answer | human_request | unreadable | step_failed | ...")
    status: str = Field(default="open", max_length=12)
    question: str = Field(default="", sa_type=Text)
    created_at: datetime = now()


class Label(SQLModel, table=True):
    """What a customer chose of the items they were offered for a question: the truth about that question."""

    __tablename__: ClassVar[Any] = "labels"
    __table_args__ = (UniqueConstraint("turn_id", name="uq_labels_turn"), Index("ix_labels_offer", "offer_id"))

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    turn_id: str = Field(foreign_key="turn.id", max_length=36, description="The turn of the choice.")
    offer_id: str = Field(foreign_key="turn.id", max_length=36, description="The turn that offered the items.")
    conversation_id: str = Field(foreign_key="conversation.id", max_length=36)
    question: str = Field(sa_type=Text, description="What was asked before the offer.")
    item_id: str | None = Field(
        default=None, max_length=200, description="The item chosen, which may be gone by now; null: none of them."
    )
    created_at: datetime = now()


class Quarantine(SQLModel, table=True):
    """An authentic delivery nobody could parse, kept as it came, to be replayed after a fix."""

    __tablename__: ClassVar[Any] = "quarantine"
    __table_args__ = (UniqueConstraint("channel", "account", "digest", name="uq_quarantine_body"),)

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    channel: str = Field(max_length=40)
    account: str = Field(max_length=80)
    digest: str = Field(max_length=64)
    body: bytes = Field(sa_type=LargeBinary)
    error: str = Field(sa_type=Text)
    received_at: datetime = now()


class PollLease(SQLModel, table=True):
    """Who polls an account now. One poller a bot, on any number of hosts."""

    __tablename__: ClassVar[Any] = "poll_lease"

    channel: str = Field(primary_key=True, max_length=40)
    account: str = Field(primary_key=True, max_length=80)
    owner: str = Field(max_length=36)
    until: datetime = when(nullable=False)


class KnowledgeDocument(SQLModel, table=True):
    """A file or page whose passages are items of the base. Its ``location`` tells it apart."""

    __tablename__: ClassVar[Any] = "knowledge_document"
    __table_args__ = (UniqueConstraint("location_digest", name="uq_document_location"),)

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    location: str = Field(sa_type=Text, description="Absolute path, or address of the page.")
    location_digest: str = Field(max_length=64, description="SHA-256 of the location, which may be long.")
    origin: str = Field(sa_type=Text, description="The folder, the file or the site map it was imported by.")
    source: str = Field(sa_type=Text, description="What is cited: the path in the folder, or the address.")
    title: str = Field(default="", sa_type=Text)
    digest: str = Field(max_length=64, description="SHA-256 of the content and of the version of the parsers.")
    created_at: datetime = now()
    updated_at: datetime = now()


class KnowledgeItem(SQLModel, table=True):
    """One answer of the knowledge base. ``answer`` null: the id itself stands for the answer.

    Who sees it and when: :mod:`storage.visibility`. A passage of a document says where it stands there.
    """

    __tablename__: ClassVar[Any] = "knowledge_item"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=200)
    answer: str | None = Field(default=None, sa_type=Text)
    tags: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    locale: str | None = Field(default=None, max_length=16)
    status: str = Field(default="active", max_length=12, description="draft | active | archived")
    valid_from: datetime | None = when()
    valid_until: datetime | None = when()
    channels: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    languages: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    source: str = Field(default="manual", max_length=200, description="Where it came from: manual, demo, a file name.")
    document_id: str | None = Field(
        default=None, index=True, max_length=36, description="The document it is a passage of, which is its source."
    )
    heading: str | None = Field(default=None, sa_type=Text, description="Title and headings the passage stands under.")
    page: int | None = Field(default=None, description="Page of the document, from 1; null where it has no pages.")
    created_at: datetime = now()
    updated_at: datetime = now()


class KnowledgePhrase(SQLModel, table=True):
    """One indexed text of an item: a phrasing of its question, or the passage itself (``kind`` passage)."""

    __tablename__: ClassVar[Any] = "knowledge_phrase"
    __table_args__ = (
        UniqueConstraint("item_id", "digest", name="uq_phrase_item"),
        Index("ix_phrase_item", "item_id", "position"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    item_id: str = Field(foreign_key="knowledge_item.id", max_length=200, ondelete="CASCADE")
    kind: str = Field(default="question", max_length=10, description="question | passage")
    position: int = 0
    text: str = Field(sa_type=Text)
    digest: str = Field(max_length=64, description="SHA-256 of the text.")
    index_id: str | None = Field(
        default=None,
        index=True,
        max_length=36,
        description="The vector index that holds this text; null: not yet.",
    )


class VectorIndex(SQLModel, table=True):
    """A derived index: which store holds it and which embedder made it. One is live."""

    __tablename__: ClassVar[Any] = "vector_index"
    __table_args__ = (
        Index(
            "uq_vector_index_live",
            "status",
            unique=True,
            sqlite_where=text("status = 'live'"),
            postgresql_where=text("status = 'live'"),
        ),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    store: str = Field(max_length=20)
    collection: str = Field(max_length=80)
    embedder: str = Field(max_length=200, description="Name and version of the model that made the vectors.")
    dimensions: int
    status: str = Field(default="building", max_length=12, description="building | live | retired")
    created_at: datetime = now()
    setting: str | None = Field(default=None, max_length=500, description="What the model is loaded by; None: unknown.")
    query_prefix: str | None = Field(default=None, max_length=500)
    passage_prefix: str | None = Field(default=None, max_length=500)


class VectorRemoval(SQLModel, table=True):
    """A vector whose text is gone from SQL and that the store has yet to drop."""

    __tablename__: ClassVar[Any] = "vector_removal"

    phrase_id: str = Field(primary_key=True, max_length=36)
    index_id: str = Field(primary_key=True, max_length=36)


class VectorBuilt(SQLModel, table=True):
    """A text whose vector an index that is being built already holds: an interrupted build goes on behind it."""

    __tablename__: ClassVar[Any] = "vector_built"

    index_id: str = Field(primary_key=True, max_length=36)
    phrase_id: str = Field(primary_key=True, max_length=36)


class KnowledgeHead(SQLModel, table=True):
    """A classifier trained from the base's phrasings. The newest of a model serves; ``body`` empty: too few of them."""

    __tablename__: ClassVar[Any] = "knowledge_head"
    __table_args__ = (Index("ix_knowledge_head_embedder", "embedder", "id"),)

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    embedder: str = Field(max_length=200, description="Name and version of the model whose layers it reads.")
    revision: str = Field(max_length=64, description="SHA-256 of all it was trained from, and its form.")
    body: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = now()


class ModelCall(SQLModel, table=True):
    """The ledger of provider calls: one row a call, written before it is made and closed after it."""

    __tablename__: ClassVar[Any] = "model_call"
    __table_args__ = (
        Index("ix_model_call_day", "day"),
        Index("ix_model_call_turn", "turn_id"),
        Index("ix_model_call_conversation", "conversation_id", "day"),
        Index("ix_model_call_account", "channel", "account", "day"),
        Index("ix_model_call_sender", "channel", "account", "sender", "day"),
        Index(
            "ix_model_call_open",
            "expires_at",
            sqlite_where=text("outcome = 'reserved'"),
            postgresql_where=text("outcome = 'reserved'"),
        ),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    turn_id: str | None = Field(default=None, foreign_key="turn.id", max_length=36)
    step: str | None = Field(default=None, max_length=16)
    round: int = Field(default=0, description="The turn's round: 0, or the number of its replay.")
    attempt: int = 0
    message_id: str | None = Field(
        default=None, foreign_key="message.id", max_length=36, description="The message it made readable."
    )
    conversation_id: str | None = Field(default=None, foreign_key="conversation.id", max_length=36)
    channel: str | None = Field(default=None, max_length=40)
    account: str | None = Field(default=None, max_length=80)
    sender: str | None = Field(default=None, max_length=200)
    provider: str = Field(max_length=60)
    model: str = Field(max_length=200)
    purpose: str = Field(max_length=20)
    modality: str = Field(max_length=12)
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = Field(default=0, description="Of tokens_in, read from the provider's cache.")
    audio_seconds: float = 0.0
    images: int = 0
    cost: Decimal | None = Field(default=None, sa_type=Money, description="Null: nobody knows (yet).")
    currency: str = Field(max_length=3)
    price_source: str | None = Field(
        default=None, max_length=60, description="Where the price is from; null with an answer: unpriced."
    )
    reserved: Decimal = Field(sa_type=Money, nullable=False, description="The most it could cost, before it was made.")
    counted: int = Field(
        sa_type=BigInteger, description="What budgets hold it for, in billionths of the currency: see outcome."
    )
    budgets: list[list[str]] = Field(
        default_factory=list,
        sa_column=Column(JSON, nullable=False),
        description="Scope, key and period of each counter that holds it.",
    )
    outcome: str = Field(default="reserved", max_length=12, description="reserved | answered | failed | abandoned")
    error_class: str | None = Field(default=None, max_length=80)
    ms: float | None = Field(default=None, description="Wall time, milliseconds.")
    day: str = Field(max_length=10, description="The day in the budgets' time zone, YYYY-MM-DD.")
    started_at: datetime = now()
    expires_at: datetime = when(nullable=False)
    closed_at: datetime | None = when()


class BudgetCounter(SQLModel, table=True):
    """What one budget has paid and set aside in one period, in billionths of the currency."""

    __tablename__: ClassVar[Any] = "budget_counter"

    scope: str = Field(primary_key=True, max_length=12, description="all | account | conversation | sender")
    key: str = Field(primary_key=True, max_length=340, description="Which of them; empty for all.")
    period: str = Field(primary_key=True, max_length=10, description="YYYY-MM-DD, or YYYY-MM.")
    spent: int = Field(default=0, sa_type=BigInteger)
    reserved: int = Field(default=0, sa_type=BigInteger)
    warned_at: datetime | None = when()
    exhausted_at: datetime | None = when()


class ConversationSummary(SQLModel, table=True):
    """Notes on the older part of a long conversation: what models are shown of it in the place of its lines."""

    __tablename__: ClassVar[Any] = "conversation_summary"

    conversation_id: str = Field(foreign_key="conversation.id", primary_key=True, max_length=36)
    upto: int = Field(description="The last line, by its seq, that the notes are on.")
    text: str = Field(sa_type=Text)
    updated_at: datetime = now()
