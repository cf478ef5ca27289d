"""What customers were offered to choose from, what they chose, and the labels that makes.

An offer is the result of a turn's generate step: nothing of it is stored twice. It is read within one conversation
only, so that no press reaches what another customer was offered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Update, bindparam, select
from sqlmodel import Session, col
from sqlmodel import select as orm_select

from ragline.ids import new_id
from storage.models import KnowledgeItem, Label
from storage.rows import TurnRow, conversations, insert_ignoring, labels, messages, step_runs, turns
from storage.visibility import visible


class Option(NamedTuple):
    """``id``: of a knowledge item; None: none of them."""

    id: str | None
    title: str


@dataclass(frozen=True)
class Offer:
    """What one turn offered. ``question``: what was asked; ``answered``: choices whose answer the customer has."""

    turn_id: str
    question: str
    options: tuple[Option, ...]
    answered: frozenset[str | None]


@dataclass(frozen=True)
class NewLabel:
    """A choice: for the ``question`` before the offer, the item, or None of those offered."""

    offer_id: str
    question: str
    item_id: str | None


@dataclass(frozen=True)
class Chosen:
    """An item as it is now."""

    id: str
    answer: str | None
    locale: str | None


_OFFER: Select[Any] = (
    select(step_runs.c.step, step_runs.c.result)
    .join_from(turns, step_runs, step_runs.c.turn_id == turns.c.id)
    .where(
        turns.c.id == bindparam("offer"),
        turns.c.conversation_id == bindparam("talk"),
        step_runs.c.outcome == "ok",
        step_runs.c.step.in_(("classify", "generate")),
    )
    .order_by(step_runs.c.started_at)
)
_ANSWERED: Select[Any] = (
    select(labels.c.item_id)
    .join_from(labels, turns, turns.c.id == labels.c.turn_id)
    .where(labels.c.offer_id == bindparam("offer"), labels.c.turn_id != bindparam("mine"), turns.c.status == "answered")
)
#: The turn of the message before. One of a person of the company has none.
_before = (
    select(messages.c.turn_id)
    .where(
        messages.c.conversation_id == bindparam("talk"),
        messages.c.seq < bindparam("before"),
        messages.c.kind.not_in(("edit", "event")),
    )
    .order_by(messages.c.seq.desc())
    .limit(1)
    .scalar_subquery()
)
_NEWEST: Select[Any] = (
    select(turns.c.id, turns.c.mode, labels.c.offer_id)
    .join_from(turns, labels, labels.c.turn_id == turns.c.id, isouter=True)
    .where(turns.c.id == _before, turns.c.status == "answered")
)


_OFFERED: Update = conversations.update().where(conversations.c.id == bindparam("talk")).values(offered=True)


def find_offer(connection: Connection, conversation_id: str, offer_id: str, *, turn_id: str) -> Offer | None:
    """What the turn ``offer_id`` offered in this conversation; None: nothing, or it is of another conversation.

    ``turn_id`` is the turn that asks: its own choice, of an attempt before, is not counted as answered.
    """
    question, options = "", dict[Option, None]()
    for step, result in connection.execute(_OFFER, {"offer": offer_id, "talk": conversation_id}):
        if step == "classify":
            question = str(result.get("question") or "")
        else:  # a turn that was replayed may have made several; the customer may have any of them
            options |= {Option(one.get("id"), str(one["title"])): None for one in result.get("options") or ()}
    if not options:
        return None
    answered = connection.execute(_ANSWERED, {"offer": offer_id, "mine": turn_id}).scalars()
    return Offer(offer_id, question, tuple(options), frozenset(answered))


def open_offer(connection: Connection, conversation_id: str, *, before: int, turn_id: str) -> Offer | None:
    """The offer that the message numbered ``before`` may answer: made in the turn before it, or chosen from there."""
    newest = connection.execute(_NEWEST, {"talk": conversation_id, "before": before}).first()
    if newest is None:
        return None
    offer_id = newest.id if newest.mode == "clarify" else newest.offer_id
    return find_offer(connection, conversation_id, offer_id, turn_id=turn_id) if offer_id else None


def chosen_item(session: Session, item_id: str, *, channel: str, now: datetime) -> Chosen | None:
    """An item that may be sent on ``channel`` now; None when it is gone or no longer to be seen there."""
    item = session.get(KnowledgeItem, item_id)
    if item is None or not visible(item, channel=channel, locale=None, now=now):
        return None
    return Chosen(item.id, item.answer, item.locale)


def note_offer(connection: Connection, conversation_id: str) -> None:
    """Remember that the conversation holds an offer: in all others no choice has to be looked for."""
    connection.execute(_OFFERED, {"talk": conversation_id})


def keep_label(connection: Connection, turn: TurnRow, label: NewLabel, now: datetime) -> None:
    """Write a choice down; one a turn, so that a replay changes nothing."""
    row = {
        "id": new_id(), "turn_id": turn.id, "conversation_id": turn.conversation_id, "created_at": now, **vars(label),
    }  # fmt: skip
    insert_ignoring(connection, labels, [row])


def query_rows(session: Session, *, split: str) -> Iterator[dict[str, Any]]:
    """The labels as labelled questions, one an offer, oldest first: ``text``, ``gold``, ``split``, ``kind``.

    Who chose none of the items said that those near to the question do not answer it: ``near_oos``. A choice that is
    in the base no more says nothing, and is left out.
    """
    chosen: dict[str, tuple[str, list[str | None]]] = {}
    for label in session.exec(orm_select(Label).order_by(col(Label.created_at), col(Label.id))):
        chosen.setdefault(label.offer_id, (label.question, []))[1].append(label.item_id)
    ids = {item_id for _, choices in chosen.values() for item_id in choices if item_id is not None}
    present = _active(session, ids)
    for question, choices in chosen.values():
        gold = [item_id for item_id in dict.fromkeys(choices) if item_id in present]
        if gold or None in choices:
            yield {"text": question, "gold": gold, "split": split, "kind": "in" if gold else "near_oos"}


def _active(session: Session, ids: Collection[str]) -> set[str]:
    found: set[str] = set()
    ordered = sorted(ids)
    for start in range(0, len(ordered), 500):
        part = ordered[start : start + 500]
        query = orm_select(KnowledgeItem.id).where(col(KnowledgeItem.id).in_(part), KnowledgeItem.status == "active")
        found.update(session.exec(query))
    return found
