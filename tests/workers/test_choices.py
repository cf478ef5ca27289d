"""Offers and choices through the steps on real databases: answered once, written down once, in one conversation."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from pipeline.envelope import Envelope, Sender
from pipeline.senders.base import Outgoing, PullSender
from pipeline.steps.retrieve import Passage, Retrieval
from ragline.clock import utcnow
from ragline.ids import new_id
from ragline.settings import Settings
from storage import inbox, knowledge, rows, turns
from storage.knowledge_files import ItemRow
from storage.models import Label, Outbox, RedFlag, StepRun, Turn
from storage.offers import query_rows
from storage.session import Database
from storage.turns import Opened
from storage.visibility import Scope
from workers.runtime import Runtime
from workers.sending import send_rows
from workers.steps import run_step

ITEMS = {"shoes": "Shoes: 14 days.", "coats": "Coats: 30 days."}


class Buttons(PullSender):
    """A sender with buttons that notes what it sends and acknowledges."""

    button_width = 100

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.acknowledged: list[tuple[str, str]] = []

    def send(self, outgoing: Outgoing) -> str | None:
        self.sent.append(outgoing)
        return f"m{len(self.sent)}"

    def acknowledge(self, press: str, note: str = "") -> None:
        self.acknowledged.append((press, note))


class Shop:
    """A runtime that finds two close items; its database and its base are real."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = Settings.model_validate({"answer": {"clarify_threshold": 0.5, "direct_threshold": 0.9}})
        self.now, self.database, self.sender = utcnow(), database, Buttons()
        passages = tuple(
            Passage(id=name, score=0.4, question=f"How do I return {name}?", answer=answer)
            for name, answer in ITEMS.items()
        )
        self.searched: list[str] = []

        def retrieve(question: str, *, searcher: Any, k: int, scope: Scope) -> Retrieval:
            self.searched.append(question)
            return Retrieval(passages=passages, confidence=0.5)

        self.runtime = Runtime(settings, clock=lambda: self.now)
        self.runtime.__dict__.update(database=database, _searcher=None, model=None)
        monkeypatch.setattr(self.runtime, "sender", lambda channel, account: self.sender)
        monkeypatch.setattr(self.runtime, "announce", lambda conversation_id: None)
        monkeypatch.setattr("pipeline.run.retrieve", retrieve)
        knowledge.put_items(
            database, [ItemRow(id=name, questions=[f"{name}?"], answer=text) for name, text in ITEMS.items()],
            source="test",
        )  # fmt: skip

    def accept(self, text: str, *, data: str | None = None, key: str = "c", at: timedelta = timedelta()) -> str:
        envelope = Envelope(
            id=new_id(), channel="widget", account="default", conversation=key, external_id=f"c{new_id()}",
            sender=Sender(id="u"), kind="callback" if data else "text", text=text, data=data,
            received_at=self.now + at,
        )  # fmt: skip
        with self.database.write() as session:
            return inbox.accept(session.connection(), [envelope], self.now)[0].conversation_id

    def open(self, conversation: str, quiet: timedelta = timedelta()) -> turns.Opened | turns.NotYet | None:
        with self.database.write() as session:
            talk = rows.conversation(session.connection(), conversation, lock=True)
            assert talk is not None
            return turns.open_turn(
                session.connection(), talk, now=self.now, quiet=quiet, longest_wait=quiet, max_messages=20,
                patience=timedelta(), window=timedelta(),
            )  # fmt: skip

    def says(self, text: str, *, data: str | None = None, key: str = "c") -> str:
        """One message through to its answer; the turn's id."""
        return self.answer(self.accept(text, data=data, key=key))

    def answer(self, conversation: str) -> str:
        opened = self.open(conversation)
        assert isinstance(opened, Opened)
        return self.run(opened.turn.id)

    def run(self, turn_id: str) -> str:
        for step in ("classify", "retrieve", "generate", "deliver"):
            outcome = run_step(self.runtime, turn_id, step)
        send_rows(self.runtime, outcome.rows, outcome.first)
        return turn_id

    def heard(self) -> list[str]:
        return [outgoing.body["text"] for outgoing in self.sender.sent]

    def offered(self) -> list[str]:
        """The data of the newest buttons."""
        return [one["data"] for one in self.sender.sent[-1].body["buttons"]]

    def all(self, model: type[Any]) -> list[Any]:
        with self.database.read() as session:
            return list(session.exec(select(model).order_by(model.created_at)))


@pytest.fixture
def shop(database: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Shop]:
    return lambda: Shop(database, monkeypatch)


def test_a_press_is_answered_without_a_search_and_becomes_a_label(shop: Callable[[], Shop]) -> None:
    s = shop()
    asked = s.says("how do I return it?")
    shoes, coats, none = s.offered()
    chosen = s.says("How do I return coats?", data=coats)
    assert s.heard()[1:] == ["Coats: 30 days."]
    assert s.searched == ["how do I return it?"]
    (label,) = s.all(Label)
    assert (label.question, label.item_id, label.offer_id, label.turn_id) == (
        "how do I return it?", "coats", asked, chosen,
    )  # fmt: skip

    again = s.says("How do I return coats?", data=coats)
    assert len(s.heard()) == 2, "the second press of the same button is not answered again"
    with s.database.read() as session:
        turn = session.get_one(Turn, again)
        assert (turn.status, turn.step, turn.closed_at is not None) == ("answered", None, True)
    assert [note for _, note in s.sender.acknowledged] == ["You have the answer above."]
    assert len(s.all(Label)) == 1

    s.says("How do I return shoes?", data=shoes)
    s.says("None of these", data=none)
    assert s.heard()[2] == "Shoes: 14 days."
    assert "passed it to a colleague" in s.heard()[3]
    (flag,) = s.all(RedFlag)
    assert (flag.cause, flag.question) == ("no_answer", "how do I return it?")
    with s.database.read() as session:
        assert list(query_rows(session, split="dev")) == [
            {"text": "how do I return it?", "gold": ["coats", "shoes"], "split": "dev", "kind": "in"}
        ]


def test_a_number_answers_the_newest_offer_only_as_the_next_message(shop: Callable[[], Shop]) -> None:
    s = shop()
    s.says("how do I return it?")
    s.says("2")
    s.says("1")
    s.says("3")
    assert s.heard()[1:3] == ["Coats: 30 days.", "Shoes: 14 days."]
    assert "passed it to a colleague" in s.heard()[3]
    s.says("спасибо")
    s.says("1")
    assert s.searched == ["how do I return it?", "спасибо", "1"], "after another word a number is a question"
    with s.database.read() as session:
        assert [label.item_id for label in s.all(Label)] == ["coats", "shoes", None]
        assert next(query_rows(session, split="val"))["gold"] == ["coats", "shoes"]


def test_a_press_reaches_no_other_conversation_and_nothing_that_was_not_offered(shop: Callable[[], Shop]) -> None:
    s = shop()
    s.says("how do I return it?")
    shoes, _, none = s.offered()
    s.says("How do I return shoes?", data=shoes, key="stranger")
    s.says("None of these", data=none, key="stranger")
    s.says("1", key="stranger")
    forged = shoes.rpartition(":")[0] + ":0123456789ab"
    s.says("How do I return hats?", data=forged)
    assert all("no longer available" in text for text in (s.heard()[1], s.heard()[2], s.heard()[4]))
    assert s.searched == ["how do I return it?", "1"]
    assert s.all(Label) == []


def test_an_item_that_is_gone_makes_the_question_be_asked_again(shop: Callable[[], Shop]) -> None:
    s = shop()
    s.says("how do I return it?")
    shoes = s.offered()[0]
    knowledge.remove_items(s.database, ["shoes"])
    s.says("How do I return shoes?", data=shoes)
    assert s.searched == ["how do I return it?"] * 2
    assert s.sender.sent[1].body["buttons"], "what is found for it now is offered"
    with s.database.read() as session:
        assert list(query_rows(session, split="dev")) == [], "an item that is gone labels nothing"


def test_a_press_is_no_part_of_a_burst_and_two_at_once_get_one_answer(shop: Callable[[], Shop]) -> None:
    s = shop()
    s.says("how do I return it?")
    coats = s.offered()[1]
    conversation = s.accept("wait", at=timedelta(milliseconds=-5))
    s.accept("How do I return coats?", data=coats)
    s.accept("How do I return coats?", data=coats)
    s.accept("thanks")
    quiet = timedelta(seconds=30)
    first = s.open(conversation, quiet)
    assert isinstance(first, Opened), "a press ends the burst before it"
    s.run(first.turn.id)
    (second,) = [turn.id for turn in s.all(Turn) if turn.status == "processing"]  # opened where the first one closed
    s.run(second)
    assert s.heard()[2:] == ["Coats: 30 days."]
    assert len(s.sender.acknowledged) == 1, "the sender of the answer acknowledges the other one"
    assert isinstance(s.open(conversation, quiet), turns.NotYet)


def test_a_replay_answers_a_press_again_and_writes_it_down_once(shop: Callable[[], Shop]) -> None:
    s = shop()
    s.says("how do I return it?")
    turn_id = s.says("How do I return coats?", data=s.offered()[1])
    with s.database.write() as session:
        turn = session.get_one(Turn, turn_id)
        turn.replay_from = "classify"
        session.add(turn)
    opened = s.open(turn.conversation_id)
    assert isinstance(opened, Opened)
    s.run(opened.turn.id)
    assert s.heard()[1:] == ["Coats: 30 days."] * 2
    assert len(s.all(Label)) == 1
    with s.database.read() as session:
        assert len(session.exec(select(StepRun).where(StepRun.turn_id == turn_id)).all()) == 8
        assert len(session.exec(select(Outbox).where(Outbox.turn_id == turn_id)).all()) == 2
