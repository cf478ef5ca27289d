"""Replay: from the step that failed, once, in order, and never of what was delivered."""

from datetime import timedelta

import pytest
from sqlmodel import col, select

from ragline.errors import PermanentError, TransientError
from storage import outbox, replay, steps, turns
from storage.models import Outbox, RedFlag, StepRun
from storage.replay import Verdict, Wish
from storage.rows import TurnRow
from storage.session import Database
from storage.stalled import stalled
from tests.storage.test_turns import (
    NOW,
    claim,
    deliver,
    fail,
    finish,
    open_turn,
    opened,
    say,
    statuses,
    taken,
    to_outbox,
    turn_of,
)


def fail_at(database: Database, turn: TurnRow, step: str) -> None:
    for earlier in steps.STEPS[: steps.STEPS.index(step)]:
        finish(database, claim(database, turn.id, earlier))
    fail(database, claim(database, turn.id, step))


def fail_sending(database: Database, row_id: str, *, undeliverable: bool = False) -> None:
    sending = taken(database, row_id)
    with database.write() as session:
        outbox.fail(session.connection(), sending, PermanentError("refused"), now=NOW, undeliverable=undeliverable)


def ask(database: Database, turn_id: str, **options: object) -> Verdict:
    with database.write() as session:
        return replay.request(session, turn_id, Wish(**options))  # type: ignore[arg-type]


def test_it_resumes_at_the_step_that_failed_and_notices_once(database: Database) -> None:
    conversation = say(database, "hello")
    turn = opened(database, conversation)
    fail_at(database, turn, "generate")
    assert ask(database, turn.id, dry_run=True).from_step == "generate"
    assert open_turn(database, conversation) is None, "a dry run asks for nothing"
    assert ask(database, turn.id).from_step == "generate"
    assert ask(database, turn.id).reason == "was asked for already"
    again = opened(database, conversation)
    assert (again.id, again.status, again.step, again.attempt, again.round) == (turn.id, "processing", "generate", 0, 1)
    held = claim(database, turn.id, "generate")
    assert set(held.results) == {"classify", "retrieve"}
    told = fail(database, held)
    assert told == []
    ask(database, turn.id)
    opened(database, conversation)
    finish(database, claim(database, turn.id, "generate"))
    [row] = finish(database, claim(database, turn.id, "deliver"), steps.Done({}, parts=[{"text": "answer"}]))
    assert deliver(database, row) is not None
    assert turn_of(database, turn.id).status == "answered"
    with database.read() as session:
        assert session.exec(select(RedFlag.status)).all() == ["resolved"]
        runs = session.exec(select(StepRun).where(StepRun.step == "generate").order_by(col(StepRun.round))).all()
        kinds = sorted(session.exec(select(Outbox.kind)))
    assert [(run.round, run.outcome) for run in runs] == [(0, "failed"), (1, "failed"), (2, "ok")]
    assert kinds == ["answer", "notice"]


def test_a_failed_send_sends_what_is_written(database: Database) -> None:
    conversation = say(database, "hello")
    turn = opened(database, conversation)
    first, second = to_outbox(database, turn, ["1", "2"])
    deliver(database, first)
    fail_sending(database, second)
    assert ask(database, turn.id).from_step == "send"
    again = opened(database, conversation)
    assert (again.step, again.round) == (None, 0)
    assert statuses(database) == ["sent", "pending"]
    assert deliver(database, second) is not None
    assert turn_of(database, turn.id).status == "answered"


def test_replays_go_in_the_order_of_receipt(database: Database) -> None:
    conversation = say(database, "one")
    ids = []
    for minute in range(3):
        turn = open_turn(database, conversation, at=NOW + timedelta(minutes=minute))
        assert isinstance(turn, TurnRow)
        fail_at(database, turn, "classify")
        ids.append(turn.id)
        say(database, "next")
    for turn_id in reversed(ids):
        ask(database, turn_id)
    done = []
    for _ in ids:
        again = opened(database, conversation)
        done.append(again.id)
        fail_at(database, again, "classify")
    assert done == ids


def test_what_was_delivered_is_left_alone_unless_forced(database: Database) -> None:
    conversation = say(database, "hello")
    turn = opened(database, conversation)
    [row] = to_outbox(database, turn)
    assert ask(database, turn.id).reason == "is at work"
    deliver(database, row)
    assert "--force" in (ask(database, turn.id).reason or "")
    assert ask(database, turn.id, force=True, from_step="deliver").from_step == "deliver"
    again = opened(database, conversation)
    assert (again.step, again.round) == ("deliver", 1)
    [second] = finish(database, claim(database, turn.id, "deliver"), steps.Done({}, parts=[{"text": "again"}]))
    assert deliver(database, second) is not None
    assert turn_of(database, turn.id).status == "answered"


@pytest.mark.parametrize("option", [{"ambiguous": True}, {"force": True}])
def test_what_may_have_been_delivered_is_asked_for_by_name(database: Database, option: dict[str, bool]) -> None:
    conversation = say(database, "hello")
    turn = opened(database, conversation)
    [row] = to_outbox(database, turn)
    attempt = taken(database, row).row.attempts
    with database.write() as session:
        outbox.ambiguous(session.connection(), row, attempt, TransientError("broken"), now=NOW, resend=False)
    assert "--ambiguous" in (ask(database, turn.id).reason or "")
    assert ask(database, turn.id, **option).from_step == "send"
    opened(database, conversation)
    deliver(database, row)
    with database.read() as session:
        assert session.get_one(Outbox, row).resent, "it stays among those a customer may have twice"


def test_a_step_without_the_results_before_it_is_refused(database: Database) -> None:
    turn = opened(database, say(database, "hello"))
    fail_at(database, turn, "retrieve")
    assert "retrieve" in (ask(database, turn.id, from_step="generate").reason or "")
    assert ask(database, turn.id, from_step="classify").from_step == "classify"


def test_turns_are_found_by_message_and_by_filter(database: Database) -> None:
    failed = opened(database, say(database, "one", key="a"))
    fail_at(database, failed, "classify")
    other = opened(database, say(database, "two", key="b"))
    with database.read() as session:
        message = claim(database, other.id, "classify").messages[0].id
        assert replay.find(session, ids=[message]) == [other.id]
        assert replay.find(session, failed=True) == [failed.id]
        assert replay.find(session, failed=True, channel="telegram") == []
        assert replay.find(session, failed=True, since=NOW + timedelta(hours=1)) == []


def test_the_sweep_finds_a_replay_whose_hint_was_lost(database: Database) -> None:
    conversation = say(database, "hello")
    turn = opened(database, conversation)
    fail_at(database, turn, "classify")
    ask(database, turn.id)
    with database.write() as session:
        assert turns.has_waiting(session.connection(), conversation)
        assert stalled(session.connection(), now=NOW, patience=timedelta(seconds=1)).conversations == [conversation]
