"""Turns and outbox on both databases: one active turn, steps by compare-and-set, order, ambiguity."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from pipeline.envelope import Envelope, Sender
from ragline.errors import PermanentError, TransientError
from ragline.ids import new_id
from storage import inbox, outbox, rows, states, steps, turns
from storage.models import Conversation, Message, Outbox, RedFlag, StepRun, Turn
from storage.rows import TurnRow
from storage.session import Database
from storage.stalled import stalled
from storage.steps import Claim, Done, LeaseLost, Ledger
from storage.turns import NotYet

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=60)
PATIENCE = timedelta(seconds=30)


def say(database: Database, *texts: str, at: datetime = NOW, key: str = "c1", **fields: Any) -> str:
    """Accept messages and return the conversation's id."""
    envelopes = [
        Envelope(
            id=new_id(), channel="api", account="default", conversation=key, external_id=new_id(),
            sender=Sender(id="u"), kind=fields.get("kind", "text"), text=text, received_at=at,
        )
        for text in texts
    ]  # fmt: skip
    with database.write() as session:
        return inbox.accept(session.connection(), envelopes, at)[-1].conversation_id


def open_turn(
    database: Database, conversation_id: str, *, at: datetime = NOW, quiet: float = 0, most: int = 20
) -> TurnRow | NotYet | None:
    with database.write() as session:
        conversation = rows.conversation(session.connection(), conversation_id, lock=True)
        assert conversation is not None
        found = turns.open_turn(
            session.connection(),
            conversation,
            now=at,
            quiet=timedelta(seconds=quiet),
            longest_wait=timedelta(seconds=8),
            max_messages=most,
            patience=PATIENCE,
            window=timedelta(seconds=60),
        )
        return found.turn if isinstance(found, turns.Opened) else found


def opened(database: Database, conversation_id: str) -> TurnRow:
    turn = open_turn(database, conversation_id)
    assert isinstance(turn, TurnRow)
    return turn


def attempt(database: Database, turn_id: str, step: str, at: datetime = NOW) -> Claim | TurnRow | None:
    return database.commit(lambda connection: steps.claim(connection, turn_id, step, now=at, lease=LEASE))


def claim(database: Database, turn_id: str, step: str, at: datetime = NOW) -> Claim:
    held = attempt(database, turn_id, step, at)
    assert isinstance(held, Claim)
    return held


def finish(database: Database, held: Claim, done: Done | None = None) -> list[str]:
    ledger = Ledger(ms=1.5, started_at=NOW)
    with database.write() as session:
        return steps.finish(
            session.connection(), held, done or Done({"from": held.step}), ledger, now=NOW, patience=PATIENCE
        )


def fail(database: Database, held: Claim) -> list[str]:
    """End the turn for good; the ids of the notice's rows."""
    return database.commit(
        lambda connection: steps.fail(
            connection, held, PermanentError("no key"), Ledger(ms=1, started_at=NOW), now=NOW,
            notice=[{"text": "sorry"}], question="hello",
        )
    )  # fmt: skip


def to_outbox(database: Database, turn: TurnRow, texts: Sequence[str] = ("answer",)) -> list[str]:
    for step in ("classify", "retrieve", "generate"):
        finish(database, claim(database, turn.id, step))
    return finish(database, claim(database, turn.id, "deliver"), Done({}, parts=[{"text": text} for text in texts]))


def take(database: Database, row_id: str, at: datetime = NOW) -> outbox.Sending | None:
    with database.write() as session:
        return outbox.claim(session.connection(), row_id, now=at, lease=LEASE)


def taken(database: Database, row_id: str, at: datetime = NOW) -> outbox.Sending:
    sending = take(database, row_id, at)
    assert sending is not None
    return sending


def deliver(database: Database, row_id: str, external_id: str | None = None) -> outbox.Closed | None:
    sending = taken(database, row_id)
    with database.write() as session:
        return outbox.sent(session.connection(), sending, external_id, now=NOW)


def has_waiting_in(database: Database, conversation_id: str) -> bool:
    with database.read() as session:
        return turns.has_waiting(session.connection(), conversation_id)


def statuses(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.exec(select(Outbox.status).order_by(Outbox.part)))


def turn_of(database: Database, turn_id: str) -> Turn:
    with database.read() as session:
        return session.get_one(Turn, turn_id)


def test_a_burst_waits_for_silence_but_not_for_ever(database: Database) -> None:
    conversation = say(database, "hello")
    say(database, "where is my order", at=NOW + timedelta(seconds=0.8))
    early = open_turn(database, conversation, at=NOW + timedelta(seconds=1), quiet=1)
    assert early == NotYet(NOW + timedelta(seconds=1.8))
    for second in range(1, 9):
        say(database, "and", at=NOW + timedelta(seconds=second))
    late = open_turn(database, conversation, at=NOW + timedelta(seconds=8.1), quiet=1)
    assert isinstance(late, TurnRow)
    assert len(claim(database, late.id, "classify").messages) == 10


def test_one_active_turn_and_what_comes_during_it_makes_the_next(database: Database) -> None:
    conversation = say(database, "one", "two", "three")
    first = open_turn(database, conversation, most=2)
    assert isinstance(first, TurnRow)
    assert open_turn(database, conversation) is None
    [row] = to_outbox(database, first)
    sending = taken(database, row)
    with database.write() as session:
        closed = outbox.sent(session.connection(), sending, "x1", now=NOW)
    assert closed is not None
    assert closed.status == "answered"
    second = opened(database, conversation)
    assert [message.text for message in claim(database, second.id, "classify").messages] == ["three"]


def test_events_and_edits_open_nothing(database: Database) -> None:
    conversation = say(database, "blocked", kind="event")
    say(database, "typed by a person", kind="outgoing")
    assert open_turn(database, conversation) is None


def test_a_step_is_entered_once_and_done_once(database: Database) -> None:
    turn = opened(database, say(database, "hello"))
    held = claim(database, turn.id, "classify")
    assert attempt(database, turn.id, "classify") is None
    finish(database, held)
    again = attempt(database, turn.id, "classify")
    assert isinstance(again, TurnRow), "a step that is done sends its chain on"
    assert claim(database, turn.id, "retrieve").results == {"classify": {"from": "classify"}}


def test_a_lost_lease_writes_nothing(database: Database) -> None:
    turn = opened(database, say(database, "hello"))
    slow = claim(database, turn.id, "classify")
    second = claim(database, turn.id, "classify", at=NOW + LEASE + timedelta(seconds=1))
    assert second.attempt == 2
    with pytest.raises(LeaseLost):
        finish(database, slow)
    finish(database, second)
    with database.read() as session:
        runs = session.exec(select(StepRun)).all()
    assert [(run.step, run.attempt, run.outcome) for run in runs] == [("classify", 2, "ok")]


def test_a_failed_step_keeps_what_was_done_and_tells_the_customer_once(database: Database) -> None:
    turn = opened(database, say(database, "hello"))
    finish(database, claim(database, turn.id, "classify"))
    held = claim(database, turn.id, "retrieve")
    ledger = Ledger(ms=1, started_at=NOW)
    with database.write() as session:
        steps.retry_later(
            session.connection(), held, TransientError("busy"), ledger, now=NOW, delay=timedelta(seconds=2)
        )
    held = claim(database, turn.id, "retrieve")
    rows = fail(database, held)
    failed = turn_of(database, turn.id)
    assert (failed.status, failed.step, failed.error_class, failed.error) == (
        "failed", "retrieve", "PermanentError", "no key",
    )  # fmt: skip
    assert len(rows) == 1
    with database.read() as session:
        assert session.exec(select(RedFlag.cause)).all() == ["step_failed"]
        outcomes = session.exec(select(StepRun.outcome).order_by(StepRun.started_at, StepRun.attempt)).all()
    assert sorted(outcomes) == ["failed", "ok", "retry"]
    assert take(database, rows[0]) is not None, "a notice goes out although its turn is over"


def test_parts_go_in_order_and_the_last_one_closes_the_turn(database: Database) -> None:
    conversation = say(database, "tell me everything")
    turn = opened(database, conversation)
    first, second = to_outbox(database, turn, ["part 1", "part 2"])
    assert take(database, second) is None
    sending = taken(database, first)
    assert take(database, first) is None, "claimed by one sender only"
    with database.write() as session:
        assert outbox.sent(session.connection(), sending, "m1", now=NOW) is None
    assert deliver(database, second, "m2") is not None
    with database.read() as session:
        rows = session.exec(select(Outbox).order_by(Outbox.part)).all()
        message = session.exec(select(Message)).one()
    assert [row.seq for row in rows] == [message.seq + 1, message.seq + 2]
    assert turn_of(database, turn.id).status == "answered"


@pytest.mark.parametrize(("resend", "ends"), [(True, ["pending", "ambiguous"]), (False, ["ambiguous"])])
def test_an_ambiguous_send_is_repeated_at_most_once(database: Database, resend: bool, ends: list[str]) -> None:
    turn = opened(database, say(database, "hello"))
    [row] = to_outbox(database, turn)
    seen = []
    for _ in ends:
        attempt = taken(database, row).row.attempts
        with database.write() as session:
            outbox.ambiguous(session.connection(), row, attempt, TransientError("broken"), now=NOW, resend=resend)
        seen += statuses(database)
    assert seen == ends
    assert turn_of(database, turn.id).status == "failed"


def test_a_refused_part_ends_its_turn_with_the_reason(database: Database) -> None:
    turn = opened(database, say(database, "hello"))
    rows = to_outbox(database, turn, ["1", "2"])
    sending = taken(database, rows[0])
    with database.write() as session:
        closed = outbox.fail(
            session.connection(), sending, PermanentError("blocked by the user"), now=NOW, undeliverable=True
        )
    assert closed is not None
    ended = turn_of(database, turn.id)
    assert (ended.status, ended.error) == ("undeliverable", "blocked by the user")
    assert statuses(database) == ["failed", "failed"]


def test_a_flood_wait_holds_its_chat_or_its_bot_and_nobody_else(database: Database) -> None:
    rows = {}
    for key in ("c1", "c2"):
        [rows[key]] = to_outbox(database, opened(database, say(database, "hi", key=key)))
    sending = take(database, rows["c1"])
    assert sending is not None
    until = NOW + timedelta(seconds=7)
    with database.write() as session:
        outbox.flood(session.connection(), sending, TransientError("slow down"), until=until, whole_account=False)
    assert take(database, rows["c1"]) is None
    other = take(database, rows["c2"])
    assert other is not None
    with database.write() as session:
        outbox.flood(session.connection(), other, TransientError("all of you"), until=until, whole_account=True)
    [third] = to_outbox(database, opened(database, say(database, "hi", key="c3")))
    assert take(database, third) is None
    assert take(database, third, at=until + timedelta(seconds=1)) is not None


def test_a_person_in_charge_gets_the_answer_as_a_suggestion(database: Database) -> None:
    conversation = say(database, "hello")
    turn = opened(database, conversation)
    [row] = to_outbox(database, turn)
    with database.write() as session:
        session.get_one(Conversation, conversation).mode = "human"
    assert take(database, row) is None
    assert turn_of(database, turn.id).status == "suggested"


def test_the_sweep_finds_what_nobody_does(database: Database) -> None:
    waiting = say(database, "lost hint", key="w")
    turn = opened(database, say(database, "lost task", key="t"))
    sending = opened(database, say(database, "dead sender", key="s"))
    [row] = to_outbox(database, sending)
    assert take(database, row) is not None
    later = NOW + LEASE + PATIENCE
    with database.write() as session:
        found = stalled(session.connection(), now=later, patience=PATIENCE)
        again = stalled(session.connection(), now=later, patience=PATIENCE)
    assert found.conversations == [waiting]
    assert found.turns == [(turn.id, "classify")]
    assert again.turns == [], "an overdue turn is handed out once a patience"
    with database.read() as session:
        assert [row_id for row_id, *_ in outbox.abandoned(session, now=later)] == [row]


def test_history_is_in_the_order_it_was_seen(database: Database) -> None:
    conversation = say(database, "first")
    [row] = to_outbox(database, opened(database, conversation), ["reply"])
    deliver(database, row)
    say(database, "second")
    with database.read() as session:
        lines = turns.history(session, conversation, before_seq=4)
        newest = turns.history(session, conversation, before_seq=4, after_seq=2)
    assert lines == [(1, "customer", "first"), (2, "assistant", "reply"), (3, "customer", "second")]
    assert newest == lines[2:]


def test_a_sender_taken_for_dead_is_heard_until_the_row_is_sent_again(database: Database) -> None:
    for key, again in (("late", False), ("too late", True)):
        [row] = to_outbox(database, opened(database, say(database, "hello", key=key)))
        slow = taken(database, row)
        with database.write() as session:
            outbox.ambiguous(
                session.connection(), row, slow.row.attempts, TransientError("silent"), now=NOW, resend=True
            )
        second = taken(database, row) if again else None
        with database.write() as session:
            closed = outbox.sent(session.connection(), slow, "m1", now=NOW)
        assert (closed is None) is again
        if second is not None:
            with database.write() as session:
                assert outbox.sent(session.connection(), second, "m2", now=NOW) is not None


def test_a_step_that_kills_goes_on_alone(database: Database) -> None:
    """Three steps die together twice; from then on one at a time, and the others wait for it."""
    ids = [opened(database, say(database, "hi", key=f"k{n}")).id for n in range(3)]
    now = NOW
    for _ in range(2):
        for turn_id in ids:
            claim(database, turn_id, "classify", now)
        now += LEASE + PATIENCE
        with database.write() as session:
            found = stalled(session.connection(), now=now, patience=PATIENCE)
    assert len(found.turns) == 1
    with database.write() as session:
        assert stalled(session.connection(), now=now, patience=PATIENCE).turns == [], "the first one is at work"
    finish(database, claim(database, found.turns[0][0], "classify", now))
    with database.write() as session:
        found = stalled(session.connection(), now=now, patience=PATIENCE)
    assert [step for _, step in found.turns if step == "classify"] == ["classify"], "then the next suspect"


def test_the_diagrams_in_the_documents_are_those_of_the_code() -> None:
    document = (Path(__file__).parents[2] / "docs" / "delivery.md").read_text(encoding="utf-8")
    for transitions in (states.TURN, states.OUTBOX):
        assert f"```mermaid\n{states.diagram(transitions)}\n```" in document


def test_a_transition_nobody_wrote_down_is_refused(database: Database) -> None:
    with database.write() as session, pytest.raises(states.NoSuchTransition):
        states.move(session.connection(), Outbox, "any", "sent", "pending")
