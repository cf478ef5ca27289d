"""Acceptance in SQL: once, in order, whatever arrives at the same moment from wherever."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import col, select

from pipeline.envelope import Envelope, MediaRef, Sender
from ragline.ids import new_id
from storage import inbox
from storage.models import Conversation, Message, Quarantine, Turn

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def envelope(external_id="1", conversation="chat", text="Where is my order?", **fields):
    return Envelope(
        **{
            "id": new_id(),
            "channel": "telegram",
            "account": "default",
            "conversation": conversation,
            "external_id": external_id,
            "sender": Sender(id="u1", name="Ann", locale="en"),
            "kind": "text",
            "text": text,
            "received_at": NOW,
            **fields,
        }
    )


def accept(database, *envelopes):
    with database.write() as session:
        return inbox.accept(session.connection(), envelopes, NOW)


def stored(database):
    with database.read() as session:
        return session.exec(select(Message).order_by(col(Message.seq))).all()


def test_a_new_message_is_stored_with_what_is_known_of_its_customer(database):
    sent = envelope(address={"chat_id": 42}, received_at=NOW)
    (result,) = accept(database, sent)

    assert (result.outcome, result.seq, result.message_id, result.answerable) == ("new", 1, sent.id, True)
    (message,) = stored(database)
    assert (message.text, message.turn_id, message.received_at) == ("Where is my order?", None, NOW)
    assert Envelope.model_validate(message.envelope) == sent
    with database.read() as session:
        conversation = session.get_one(Conversation, result.conversation_id)
    assert (conversation.address, conversation.last_seq, conversation.sender_name) == ({"chat_id": 42}, 1, "Ann")


@pytest.mark.parametrize("together", [True, False], ids=["in one group", "in two"])
def test_the_same_event_again_is_the_first_message(database, together):
    first, again = envelope(), envelope()
    results = accept(database, first, again) if together else [*accept(database, first), *accept(database, again)]
    assert [result.outcome for result in results] == ["new", "duplicate"]
    assert results[1].message_id == first.id
    assert results[1].seq == results[0].seq == 1
    assert len(stored(database)) == 1


@pytest.mark.parametrize("together", [True, False], ids=["in one group", "in two"])
def test_another_body_under_the_same_id_is_a_conflict_and_changes_nothing(database, together):
    first, other = envelope(), envelope(text="Something else")
    results = accept(database, first, other) if together else [*accept(database, first), *accept(database, other)]
    assert [result.outcome for result in results] == ["new", "conflict"]
    assert [message.text for message in stored(database)] == ["Where is my order?"]


def test_a_file_makes_another_body(database):
    photo = MediaRef(type="photo", ref="file-1")
    results = accept(database, envelope(), envelope(media=(photo,)))
    assert [result.outcome for result in results] == ["new", "conflict"]


def test_one_id_in_two_conversations_accounts_and_channels_is_as_many_messages(database):
    results = accept(
        database,
        envelope(),
        envelope(conversation="other"),
        envelope(account="second"),
        envelope(channel="widget"),
    )
    assert [result.outcome for result in results] == ["new"] * 4
    assert [result.seq for result in results] == [1] * 4


def test_a_delivery_number_seen_before_is_a_duplicate_wherever_it_claims_to_be_from(database):
    first = envelope(update_key="900")
    accept(database, first)
    (moved,) = accept(database, envelope("7", conversation="elsewhere", update_key="900"))
    assert (moved.outcome, moved.message_id) == ("duplicate", first.id)
    (second_bot,) = accept(database, envelope(account="second", update_key="900"))
    assert second_bot.outcome == "new"


def test_events_are_numbered_in_the_order_given(database):
    group = [envelope(str(n), conversation="a" if n % 2 else "b") for n in range(10)]
    results = accept(database, *group)
    assert [result.seq for result in results] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_an_edit_replaces_the_text_nobody_has_begun_to_answer(database):
    accept(database, envelope("1"))
    (result,) = accept(database, envelope("e1:5", kind="edit", edits="1", text="Where is my refund?"))
    assert (result.outcome, result.answerable, result.seq) == ("new", False, 2)
    original, edit = stored(database)
    assert (original.text, original.edited_at) == ("Where is my refund?", NOW)
    assert edit.kind == "edit"


def test_a_message_and_its_edit_in_one_group(database):
    accept(database, envelope("1"), envelope("e1:5", kind="edit", edits="1", text="Two"), envelope("2", text="Other"))
    assert [message.text for message in stored(database)] == ["Two", "Two", "Other"]


def test_an_edit_of_a_message_in_a_turn_changes_nothing(database):
    (first,) = accept(database, envelope("1"))
    with database.write() as session:
        turn = Turn(conversation_id=first.conversation_id)
        session.add(turn)
        session.flush()
        session.get_one(Message, first.message_id).turn_id = turn.id
    accept(database, envelope("e1:5", kind="edit", edits="1", text="Too late"))
    assert stored(database)[0].text == "Where is my order?"


def test_an_edit_reaches_only_its_own_conversation(database):
    accept(database, envelope("1"), envelope("1", conversation="other"))
    accept(database, envelope("e1:5", conversation="other", kind="edit", edits="1", text="Mine"))
    with database.read() as session:
        texts = {
            key: text
            for key, text in session.exec(
                select(Conversation.key, Message.text)
                .join(Message, col(Message.conversation_id) == Conversation.id)
                .where(Message.kind == "text")
            )
        }
    assert texts == {"chat": "Where is my order?", "other": "Mine"}


def test_a_nul_is_replaced_before_either_database_sees_it(database):
    sender = Sender(id="u\0", name="A\0nn", locale="en")
    first = envelope("1\0", conversation="c\0", text="a\0b", sender=sender, update_key="u\0", address={"a": "\0"})
    (result,) = accept(database, first)
    (again,) = accept(database, envelope("1\0", conversation="c\0", text="a\0b", sender=sender))
    assert (result.outcome, again.outcome) == ("new", "duplicate")
    (message,) = stored(database)
    assert (message.text, message.external_id) == ("a\ufffdb", "1\ufffd")


def test_what_is_too_long_for_a_column_is_cut_not_refused(database):
    sender = Sender(id="i" * 500, name="n" * 500, locale="x" * 50)
    (result,) = accept(database, envelope(sender=sender, text="t" * 100_000))
    with database.read() as session:
        conversation = session.get_one(Conversation, result.conversation_id)
    assert [len(x or "") for x in (conversation.sender_id, conversation.sender_name, conversation.locale)] == [
        200,
        200,
        16,
    ]
    assert len(stored(database)[0].text) == 100_000


def test_texts_of_every_script_come_back_unchanged(database):
    text = "Здравствуйте 👩‍👩‍👧 ‏שלום‎ \u2028 '; DROP TABLE message; -- %s {x}"
    accept(database, envelope(text=text))
    assert stored(database)[0].text == text


def test_an_operator_elsewhere_is_not_taken_for_the_customer(database):
    (first,) = accept(database, envelope())
    accept(database, envelope("2", kind="outgoing", sender=Sender(id="staff", name="Bob"), address={"chat_id": 1}))
    with database.read() as session:
        conversation = session.get_one(Conversation, first.conversation_id)
    assert (conversation.sender_id, conversation.sender_name, conversation.address) == ("u1", "Ann", {"chat_id": 1})


def test_a_delivery_number_being_stored_at_this_moment_is_a_duplicate_in_the_end(database):
    """Another conversation, so no lock orders the two; on PostgreSQL the second insert meets the unique index."""
    first = envelope(update_key="77")
    rival = envelope("9", conversation="elsewhere", update_key="77")
    results = []

    def compete():
        with database.write() as session:
            results.extend(inbox.accept(session.connection(), [rival], NOW))

    competitor = threading.Thread(target=compete)
    with database.write() as session:
        inbox.accept(session.connection(), [first], NOW)
        competitor.start()
        competitor.join(0.4)
        assert competitor.is_alive()  # it waits for this transaction
    competitor.join(30)
    assert [(result.outcome, result.message_id) for result in results] == [("duplicate", first.id)]
    assert len(stored(database)) == 1


def test_quarantine_keeps_a_body_once(database):
    for _ in range(2):
        with database.write() as session:
            inbox.quarantine(
                session.connection(),
                channel="umnico",
                account="default",
                body=b"\0\xff{",
                error="no messageId",
                now=NOW,
            )
    with database.read() as session:
        (kept,) = session.exec(select(Quarantine)).all()
    assert (kept.body, kept.error, kept.received_at) == (b"\0\xff{", "no messageId", NOW)


def test_eight_threads_number_without_gap_or_repeat_and_store_each_event_once(database):
    threads, each = 8, 15
    problems: list[BaseException] = []
    outcomes: list[str] = []

    def write(worker):
        try:
            for n in range(each):
                own = envelope(f"{worker}-{n}", conversation=f"chat-{n % 2}")
                shared = envelope(f"shared-{n}", conversation=f"chat-{n % 2}", received_at=NOW + timedelta(seconds=n))
                # Opposite orders of conversations in two groups would deadlock without sorted locks.
                group = [own, shared, envelope(f"x-{worker}-{n}", conversation=f"chat-{(n + worker) % 2}")]
                outcomes.extend(result.outcome for result in accept(database, *group[:: 1 if worker % 2 else -1]))
        except BaseException as problem:
            problems.append(problem)

    running = [threading.Thread(target=write, args=(worker,)) for worker in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert problems == []
    assert outcomes.count("new") == threads * each * 2 + each
    assert outcomes.count("duplicate") == (threads - 1) * each
    _numbers_are_whole(database, threads * each * 2 + each)


WRITER = """
import sys
from datetime import UTC, datetime
from pipeline.envelope import Envelope, Sender
from ragline.ids import new_id
from storage import inbox
from storage.session import Database, make_engine

url, name = sys.argv[1:]
database = Database(make_engine(url))
now = datetime.now(UTC)
print("ready", flush=True)
sys.stdin.readline()
for n in range(40):
    group = [
        Envelope(id=new_id(), channel="telegram", account="default", conversation="chat", external_id=external,
                 sender=Sender(id="u"), kind="text", text=external, received_at=now)
        for external in (f"{name}-{n}", f"shared-{n}")
    ]
    with database.write() as session:
        print(*(result.outcome for result in inbox.accept(session.connection(), group, now)))
"""


def test_two_processes_number_without_gap_or_repeat(database, database_url):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, database_url, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("left", "right")
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n", writer.stderr.read()
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    outputs = [writer.communicate(timeout=60) for writer in writers]
    assert [error for _, error in outputs] == ["", ""]
    outcomes = [word for output, _ in outputs for word in output.split()]
    assert (outcomes.count("new"), outcomes.count("duplicate")) == (120, 40)
    _numbers_are_whole(database, 120)


def _numbers_are_whole(database, total):
    with database.read() as session:
        conversations = session.exec(select(Conversation)).all()
        numbers = {
            conversation.id: sorted(
                session.exec(select(Message.seq).where(Message.conversation_id == conversation.id)).all()
            )
            for conversation in conversations
        }
    assert sum(len(given) for given in numbers.values()) == total
    for conversation in conversations:
        assert numbers[conversation.id] == list(range(1, conversation.last_seq + 1))


def test_stored_messages_are_looked_up_only_where_one_comes_again(database, monkeypatch):
    looked = []
    look = inbox._known_messages
    monkeypatch.setattr(inbox, "_known_messages", lambda *given: looked.append(1) or look(*given))
    first = [envelope(str(number), conversation=f"chat {number % 3}") for number in range(9)]
    assert {result.outcome for result in accept(database, *first)} == {"new"}
    assert not looked
    again = accept(database, envelope("9"), *first)
    assert [result.outcome for result in again] == ["new", *["duplicate"] * 9]
    assert looked
    assert len(stored(database)) == 10
