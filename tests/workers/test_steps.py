"""A turn through its steps in one process: what is written, retried, given up and sent."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import col, select

from pipeline.envelope import Envelope, Sender
from pipeline.errors import AmbiguousSend, FloodWait, NotSent, ProviderRefused, ProviderUnavailable, Undeliverable
from pipeline.llm import Completion
from pipeline.senders.base import Outgoing, PullSender
from pipeline.steps.retrieve import Passage, Retrieval
from pipeline.turn import Usage
from ragline.clock import utcnow
from ragline.ids import new_id
from ragline.settings import PrivacySettings, Settings
from storage import inbox, rows, steps, turns
from storage.models import Conversation, Message, Outbox, RedFlag, StepRun, Turn
from storage.outbox import Sending
from storage.session import Database
from storage.steps import STEPS
from storage.turns import Opened
from workers.runtime import Runtime
from workers.sending import Sent, send_rows
from workers.steps import Outcome, StepHeld, StepRetry, run_step


class Knows:
    """A search that finds one passage with the confidence it was given."""

    def __init__(self, confidence: float) -> None:
        passage = Passage(id="d", score=confidence, question="Delivery?", answer="Two days.", locale="en")
        self.found = Retrieval(passages=(passage,), confidence=confidence)


class Scripted(PullSender):
    """A sender that fails in the ways it was told, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.sent: list[Outgoing] = []

    def send(self, outgoing: Outgoing) -> str | None:
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append(outgoing)
        return f"m{len(self.sent)}"


class Model:
    """A language model that fails in the ways it was told, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def complete(self, messages: Any, *, max_tokens: int, **_: Any) -> Completion:
        if self.errors:
            raise self.errors.pop(0)
        return Completion("Two days [1].", Usage(tokens_in=9, tokens_out=3, model="test/model"))

    def count_tokens(self, text: str) -> int:
        return len(text)


class World:
    """A runtime whose outside is scripted; its database is real."""

    def __init__(
        self, database: Database, monkeypatch: pytest.MonkeyPatch, *, confidence: float = 0.99,
        model: Model | None = None,
        sender: Scripted | None = None,
    ) -> None:  # fmt: skip
        settings = Settings.model_validate(
            {
                "answer": {"direct_threshold": 0.9, "grounded_threshold": 0.1},
                "turn": {"max_attempts": 3, "retry_base": 1},
            }
        )
        self.now = utcnow()
        self.runtime = Runtime(settings, clock=lambda: self.now)
        self.runtime.__dict__.update(database=database, _searcher=Knows(confidence), model=model)
        self.sender = sender or Scripted()
        monkeypatch.setattr(self.runtime, "sender", lambda channel, account: self.sender)
        monkeypatch.setattr(self.runtime, "announce", lambda conversation_id: None)
        monkeypatch.setattr("pipeline.run.retrieve", lambda question, *, searcher, k, scope: searcher.found)
        self.database = database

    def turn(self, text: str = "when does it come?") -> str:
        return self.turn_in("c", text)

    def turn_in(self, key: str, text: str = "when does it come?") -> str:
        envelope = Envelope(
            id=new_id(), channel="api", account="default", conversation=key, external_id=new_id(),
            sender=Sender(id="u"), kind="text", text=text, received_at=self.now,
        )  # fmt: skip
        zero = timedelta()
        with self.database.write() as session:
            conversation = inbox.accept(session.connection(), [envelope], self.now)[0].conversation_id
            talk = rows.conversation(session.connection(), conversation)
            assert talk is not None
            opened = turns.open_turn(
                session.connection(), talk, now=self.now, quiet=zero, longest_wait=zero, max_messages=1, patience=zero,
                window=zero,
            )  # fmt: skip
        assert isinstance(opened, Opened)
        return opened.turn.id

    def held(self, turn_id: str, step: str) -> object:
        """Another attempt takes the step."""
        lease = timedelta(seconds=60)
        return self.database.commit(
            lambda connection: steps.claim(connection, turn_id, step, now=self.now, lease=lease)
        )

    def steps(self, turn_id: str, upto: str = "deliver") -> Outcome:
        for step in STEPS[: STEPS.index(upto) + 1]:
            outcome = run_step(self.runtime, turn_id, step)
        return outcome

    def written(self, turn_id: str) -> tuple[list[str], Sending | None]:
        """The rows of the turn's answer, and the first of them, claimed."""
        outcome = self.steps(turn_id)
        return outcome.rows, outcome.first

    def one(self, model: type[Any], turn_id: str) -> Any:
        with self.database.read() as session:
            column = model.id if model is Turn else model.turn_id
            return session.exec(select(model).where(column == turn_id)).one()


@pytest.fixture
def world(database: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    return lambda **options: World(database, monkeypatch, **options)


def test_a_turn_is_answered_and_accounted_for(world: Callable[..., World]) -> None:
    w = world()
    turn_id = w.turn()
    outcome = w.steps(turn_id)
    assert (w.one(Outbox, turn_id).status, w.sender.sent) == ("sending", []), "written, claimed, not sent yet"
    sent, later = send_rows(w.runtime, outcome.rows, outcome.first)
    closed = sent.closed
    assert closed is not None
    assert (closed.status, later) == ("answered", {})
    assert w.sender.sent[0].body == {"text": "Two days."}
    with w.database.read() as session:
        runs = session.exec(select(StepRun).order_by(col(StepRun.started_at))).all()
    assert {run.step for run in runs} == set(STEPS)
    assert all(run.outcome == "ok" and run.ms > 0 for run in runs)
    assert w.one(Turn, turn_id).mode == "direct"


def test_a_step_that_is_done_is_not_done_again(world: Callable[..., World]) -> None:
    w = world()
    turn_id = w.turn()
    w.steps(turn_id)
    assert run_step(w.runtime, turn_id, "classify").rows == []
    assert run_step(w.runtime, turn_id, "deliver").rows == []
    with w.database.read() as session:
        assert len(session.exec(select(StepRun)).all()) == 4
        assert len(session.exec(select(Outbox)).all()) == 1


def test_a_held_step_is_left_to_its_holder(world: Callable[..., World]) -> None:
    w = world()
    turn_id = w.turn()
    assert w.held(turn_id, "classify")
    with pytest.raises(StepHeld):
        run_step(w.runtime, turn_id, "classify")


def test_a_transient_error_is_retried_with_growing_delay_and_the_tokens_are_counted(
    world: Callable[..., World],
) -> None:
    w = world(confidence=0.5, model=Model(ProviderUnavailable("busy"), ProviderUnavailable("busy", retry_after=7)))
    turn_id = w.turn()
    w.steps(turn_id, "retrieve")
    delays = []
    for _ in range(2):
        with pytest.raises(StepRetry) as raised:
            run_step(w.runtime, turn_id, "generate")
        delays.append(raised.value.retry_after)
    assert delays == [1.0, 7]
    run_step(w.runtime, turn_id, "generate")
    with w.database.read() as session:
        runs = session.exec(select(StepRun).where(StepRun.step == "generate").order_by(col(StepRun.attempt))).all()
    assert [(run.outcome, run.tokens_in) for run in runs] == [("retry", 0), ("retry", 0), ("ok", 9)]
    assert runs[-1].template_version == "2+1.2+4"


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ([ProviderRefused("no key")], "ProviderRefused"),
        ([ProviderUnavailable("busy")] * 3, "ProviderUnavailable"),
        ([ProviderUnavailable("quota spent", retry_after=3600)], "ProviderUnavailable"),
        ([KeyError("what the customer wrote")], "KeyError"),
    ],
)
def test_a_step_that_cannot_be_done_ends_the_turn_honestly(
    world: Callable[..., World], errors: list[Exception], kind: str
) -> None:
    w = world(confidence=0.5, model=Model(*errors))
    turn_id = w.turn("how long?")
    w.steps(turn_id, "retrieve")
    for _ in errors[1:]:
        with pytest.raises(StepRetry):
            run_step(w.runtime, turn_id, "generate")
    outcome = run_step(w.runtime, turn_id, "generate")
    assert outcome.turn_over
    assert outcome.failure
    failed = w.one(Turn, turn_id)
    assert (failed.status, failed.step, failed.error_class) == ("failed", "generate", kind)
    assert "customer wrote" not in (failed.error or "")
    assert w.one(RedFlag, turn_id).question == "how long?"
    send_rows(w.runtime, outcome.rows)
    [notice] = w.sender.sent
    assert "colleague" in notice.body["text"]
    assert w.one(Outbox, turn_id).kind == "notice"


def test_an_answer_without_a_text_does_not_block_its_conversation(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    w = world()
    monkeypatch.setattr(w.sender, "split", lambda text, address: [] if text == "Two days." else [{"text": text}])
    turn_id = w.turn()
    assert w.steps(turn_id).failure
    assert (w.one(Turn, turn_id).status, w.one(Outbox, turn_id).kind) == ("failed", "notice")


def test_a_worker_that_dies_each_time_does_not_go_on_for_ever(world: Callable[..., World]) -> None:
    w = world()
    turn_id = w.turn()
    for _ in range(w.runtime.settings.turn.max_crashes):
        assert w.held(turn_id, "classify")
        w.now += timedelta(seconds=61)
    assert run_step(w.runtime, turn_id, "classify").failure
    dead = w.one(Turn, turn_id)
    assert (dead.status, dead.step, dead.error_class) == ("failed", "classify", "Poisonous")


def test_sending_is_not_tried_for_ever(world: Callable[..., World]) -> None:
    w = world(sender=Scripted(*[NotSent("refused")] * 99))
    turn_id = w.turn()
    rows, first = w.written(turn_id)
    began = w.now
    while w.one(Turn, turn_id).status == "processing":
        sent, later = send_rows(w.runtime, rows, first)
        closed = sent.closed
        w.now, first = later.get(rows[0], w.now), None
    assert closed is not None
    assert w.one(Outbox, turn_id).attempts == w.runtime.settings.turn.max_send_attempts
    assert timedelta(minutes=1) < w.now - began < timedelta(minutes=5)


def test_what_was_not_sent_waits_and_goes_out(world: Callable[..., World]) -> None:
    w = world(sender=Scripted(NotSent("refused"), FloodWait("slow down", 30)))
    turn_id = w.turn()
    rows, first = w.written(turn_id)
    _, later = send_rows(w.runtime, rows, first)
    assert later == {rows[0]: w.now + timedelta(seconds=1)}
    w.now = later[rows[0]]
    _, later = send_rows(w.runtime, rows)
    assert later == {rows[0]: w.now + timedelta(seconds=30)}
    assert send_rows(w.runtime, rows) == (Sent(), {}), "before its time nothing is sent"
    w.now = later[rows[0]]
    closed = send_rows(w.runtime, rows)[0].closed
    assert closed is not None
    row = w.one(Outbox, turn_id)
    assert (row.status, row.attempts, row.external_id, row.resent) == ("sent", 2, "m1", False)


def test_an_ambiguous_send_is_marked_and_repeated_once(world: Callable[..., World]) -> None:
    w = world(sender=Scripted(AmbiguousSend("broken")))
    turn_id = w.turn()
    rows, first = w.written(turn_id)
    _, later = send_rows(w.runtime, rows, first)
    assert list(later) == rows
    send_rows(w.runtime, rows)
    row = w.one(Outbox, turn_id)
    assert (row.status, row.resent) == ("sent", True)


def test_a_customer_who_blocked_the_bot_is_undeliverable(world: Callable[..., World]) -> None:
    w = world(sender=Scripted(Undeliverable("blocked by the user")))
    turn_id = w.turn()
    closed = send_rows(w.runtime, *w.written(turn_id))[0].closed
    assert closed is not None
    ended = w.one(Turn, turn_id)
    assert (ended.status, ended.step, ended.error) == ("undeliverable", "deliver", "blocked by the user")


def test_in_human_mode_the_answer_is_only_suggested(world: Callable[..., World]) -> None:
    w = world()
    turn_id = w.turn()
    with w.database.write() as session:
        conversation = session.exec(select(Conversation)).one()
        conversation.mode = "human"
        session.add(conversation)
    outcome = w.steps(turn_id)
    assert outcome.turn_over
    assert outcome.rows == []
    assert w.one(Turn, turn_id).status == "suggested"
    with w.database.read() as session:
        assert session.exec(select(Message.turn_id)).one() == turn_id


def test_an_ambiguous_part_that_the_channel_knows_is_not_sent_again(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    w = world(sender=Scripted(AmbiguousSend("broken")))
    monkeypatch.setattr(w.sender, "already_sent", lambda outgoing: True)
    turn_id = w.turn()
    rows, first = w.written(turn_id)
    send_rows(w.runtime, rows, first)
    closed = send_rows(w.runtime, rows)[0].closed
    assert closed is not None
    assert w.sender.sent == []
    assert w.one(Outbox, turn_id).status == "sent"


def test_a_model_sees_marks_and_the_customer_and_the_database_what_they_stand_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Echoes(Model):
        def complete(
            self, messages: Any, *, max_tokens: int, purpose: Any = "answer", on_text: Any = None
        ) -> Completion:
            self.seen = str(messages)
            return Completion("Two days, for INN [INN_1] and order 4500123 [1].", Usage(model="test/model"))

    model = Echoes()
    world = World(database, monkeypatch, confidence=0.5, model=model)
    privacy = PrivacySettings(masking="on")
    world.runtime.settings = world.runtime.settings.model_copy(update={"privacy": privacy})
    turn = world.turn("8 (916) 123-45-67, INN 500100732259, order 4500123: when does it come?")
    outcome = world.steps(turn)
    send_rows(world.runtime, outcome.rows, outcome.first)
    assert "[PHONE_1], INN [INN_1], order 4500123: when" in model.seen
    assert world.sender.sent[0].body["text"] == "Two days, for INN 500100732259 and order 4500123."
