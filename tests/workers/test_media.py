"""Turns with files in one process: understood once, in a step of their own; each failure as the customer meets it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import pytest
from sqlmodel import col, select

from pipeline.envelope import Envelope, MediaRef, Sender
from pipeline.errors import BudgetSpent, NotUnderstood, ProviderUnavailable
from pipeline.llm import Audio, Completion, Transcript, make_language_model
from pipeline.senders.base import PullSender
from pipeline.steps.retrieve import Passage, Retrieval
from pipeline.turn import Usage
from ragline.clock import utcnow
from ragline.ids import new_id
from ragline.settings import Settings
from storage import inbox, replay, rows, turns
from storage.download import DownloadFailed
from storage.models import Message, ModelCall, Outbox, RedFlag, StepRun, Turn
from storage.session import Database
from storage.steps import ALL_STEPS
from storage.turns import Opened
from storage.understanding import parts_of
from tests.support import documents, media
from tests.support.fake_openai import FakeOpenAI
from workers.media import clean_files
from workers.runtime import Runtime
from workers.steps import Outcome, StepRetry, run_step

PRICE = Decimal("0.002")
#: What is the same on both databases is shown on one.
on_sqlite = pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)


class Finds:
    """A search that notes what it was asked, and finds one passage."""

    asked: str = ""


class Model:
    """Counts its calls, and fails in the ways it was told."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls: list[str] = []
        self.prompts: list[Any] = []

    def complete(self, messages: Any, *, max_tokens: int, purpose: str = "answer", **_: Any) -> Completion:
        if self.errors:
            raise self.errors.pop(0)
        self.calls.append(purpose)
        self.prompts.append(messages)
        text = "A kettle, K-200." if purpose == "caption" else "Yes, it is [1]."
        return Completion(text, Usage(tokens_in=10, tokens_out=2, cost=PRICE, model=f"test/{purpose}"))

    def transcribe(self, audio: Audio, *, language: str | None = None) -> Transcript:
        self.calls.append("transcribe")
        return Transcript("Is the kettle still sold?", "en", Usage(cost=PRICE, model="test/hears"))

    def count_tokens(self, text: str) -> int:
        return len(text) // 4


class Channel(PullSender):
    """A channel whose files are in the test."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | Exception] = {}
        self.downloads = 0

    def download(self, media: MediaRef, into: IO[bytes]) -> None:
        self.downloads += 1
        content = self.files[media.ref]
        if isinstance(content, Exception):
            raise content
        into.write(content)


class World:
    """A runtime with a real database and a real folder; its channel and its model are the test's."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch, folder: Path, model: Model | None) -> None:
        settings = Settings.model_validate(
            {
                "data": folder,
                "answer": {"direct_threshold": 1, "grounded_threshold": 0.1, "clarify_threshold": 1},
                "turn": {"max_attempts": 3, "retry_base": 1},
            }
        )
        self.now, self.database, self.model, self.sender = utcnow(), database, model, Channel()
        self.runtime = Runtime(settings, clock=lambda: self.now)
        passage = Passage(id="k", score=0.5, question="Which kettles are sold?", answer="K-200.", locale="en")
        self.runtime.__dict__.update(database=database, _searcher=Finds(), model=model)
        monkeypatch.setattr(self.runtime, "sender", lambda channel, account: self.sender)
        monkeypatch.setattr(self.runtime, "announce", lambda conversation_id: None)

        def find(question: str, *, searcher: Finds, k: int, scope: object) -> Retrieval:
            searcher.asked = question
            return Retrieval(passages=(passage,), confidence=0.5)

        monkeypatch.setattr("pipeline.run.retrieve", find)

    @property
    def asked(self) -> str:
        """What was searched for last."""
        return self.runtime.searcher.asked  # type: ignore[attr-defined,no-any-return]

    def says(self, *messages: tuple[str, str, bytes | Exception | None], locale: str | None = None) -> str:
        """A turn of messages: what each is sent as, its text, and its file."""
        envelopes = []
        for kind, text, content in messages:
            ref = new_id()
            if content is not None:
                self.sender.files[ref] = content
            refs = () if content is None else (MediaRef(type=kind, ref=ref, name=f"{kind}.bin"),)
            envelopes.append(
                Envelope.model_validate(
                    {
                        "id": new_id(), "channel": "api", "account": "default", "conversation": "c",
                        "external_id": new_id(), "sender": Sender(id="u", locale=locale), "kind": kind, "text": text,
                        "media": refs, "received_at": self.now,
                    }
                )
            )  # fmt: skip
        with self.database.write() as session:
            conversation = inbox.accept(session.connection(), envelopes, self.now)[0].conversation_id
        return self.open(conversation)

    def open(self, conversation_id: str) -> str:
        zero = timedelta()
        with self.database.write() as session:
            talk = rows.conversation(session.connection(), conversation_id)
            assert talk is not None
            opened = turns.open_turn(
                session.connection(), talk, now=self.now, quiet=zero, longest_wait=zero, max_messages=9, patience=zero,
                window=zero,
            )  # fmt: skip
        assert isinstance(opened, Opened)
        self.first = opened.turn.step
        return opened.turn.id

    def answer(self, turn_id: str) -> str:
        """The turn's steps, and the text of its answer."""
        outcome: Outcome | None = None
        for step in ALL_STEPS[ALL_STEPS.index(self.first or "deliver") :]:
            outcome = run_step(self.runtime, turn_id, step)
        assert outcome is not None
        with self.database.write() as session:
            row = session.get_one(Outbox, outcome.rows[0])
            row.status, row.seq = "sent", 1000 + len(session.exec(select(Outbox)).all())
            turn = session.get_one(Turn, turn_id)
            turn.status, turn.step = "answered", None
            session.add_all([row, turn])
            return str(row.body["text"])

    def runs(self, turn_id: str) -> list[StepRun]:
        with self.database.read() as session:
            query = select(StepRun).where(StepRun.turn_id == turn_id).order_by(col(StepRun.started_at))
            return list(session.exec(query).all())

    def flags(self, turn_id: str) -> list[str]:
        with self.database.read() as session:
            return list(session.exec(select(RedFlag.cause).where(RedFlag.turn_id == turn_id)).all())


@pytest.fixture
def world(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., World]:
    return lambda model=None: World(database, monkeypatch, tmp_path / "data", model)


@on_sqlite
def test_only_a_turn_with_files_has_the_step(world: Callable[..., World]) -> None:
    w = world(Model())
    text = w.says(("text", "Which kettles?", None), ("location", "55.7, 37.6", None))
    assert w.first == "classify"
    w.answer(text)
    photo = w.says(("text", "And this one?", None), ("photo", "", media.picture()))
    assert w.first == "understand"
    w.answer(photo)
    assert [len(w.runs(turn)) for turn in (text, photo)] == [4, 5]


def test_photo_voice_and_video_are_paid_once_over_five_turns_and_a_replay(world: Callable[..., World]) -> None:
    model = Model()
    w = world(model)
    photo = w.says(("photo", "Do you sell this?", media.picture()))
    assert w.answer(photo) == "Yes, it is."
    assert w.asked == "Do you sell this?\nIn the photo: A kettle, K-200."
    voice = w.says(("voice", "", media.recorded("Is the kettle still sold?")))
    w.answer(voice)
    assert w.asked == "Is the kettle still sold?"
    video = w.says(("video", "", media.video()))
    w.answer(video)
    assert w.asked == "Is the kettle still sold?\nIn the video: A kettle, K-200."
    for text in ("How much is it?", "And in red?"):
        w.answer(w.says(("text", text, None)))
    with w.database.write() as session:
        verdict = replay.request(session, photo, replay.Wish(from_step="understand", force=True))
        conversation = session.get_one(Turn, photo).conversation_id
    assert verdict.from_step == "understand"
    assert w.open(conversation) == photo
    w.answer(photo)
    paid = [call for call in model.calls if call != "answer"]
    assert paid == ["caption", "transcribe", "transcribe", "caption"]
    assert (model.calls.count("answer"), w.sender.downloads) == (6, 3)

    history = str(model.prompts[-2])  # of the fifth turn
    assert "[photo: A kettle, K-200.]" in history
    assert history.count("Is the kettle still sold?") == 2
    spent = [(run.round, run.cost) for run in w.runs(photo) if run.step == "understand"]
    assert spent == [(0, PRICE), (1, 0)]
    with w.database.read() as session:
        stored = session.exec(select(Message.understood).where(Message.kind == "video")).one()
    assert stored is not None
    assert (stored[0]["language"], Decimal(stored[0]["cost"])) == ("en", 2 * PRICE)


@on_sqlite
def test_each_message_of_a_burst_has_the_cost_of_its_own_files(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    w = world()
    prices = {"openai/eyes": {"input": 1000, "output": 4000, "currency": "RUB"}, "openai/ears": {"audio_minute": 0.6}}
    routes = {"text": ["openai/eyes"], "voice": ["openai/ears"]}
    llm = {"routes": routes, "prices": prices, "currency": "RUB", "usd_rate": 80}
    w.runtime.settings = Settings.model_validate({**w.runtime.settings.model_dump(), "llm": llm})
    with FakeOpenAI(answer="A kettle, K-200.") as provider:
        monkeypatch.setenv("OPENAI_API_KEY", provider.api_key)
        monkeypatch.setenv("OPENAI_API_BASE", provider.api_base)
        w.runtime.__dict__["model"] = make_language_model(w.runtime.settings)
        turn = w.says(
            ("text", "Are these sold?", None), ("photo", "", b""), ("photo", "", media.picture()),
            ("photo", "", media.picture("POT")), ("voice", "", media.recorded("hello")), ("video", "", media.video()),
        )  # fmt: skip
        run_step(w.runtime, turn, "understand")
        seen, heard = provider.totals("chat"), len(provider.wait_requests(1, route="transcriptions"))
    with w.database.read() as session:
        messages = session.exec(select(Message).order_by(col(Message.seq))).all()
        calls = session.exec(select(ModelCall).order_by(col(ModelCall.id))).all()
    booked = [[call.purpose for call in calls if call.message_id == message.id] for message in messages]
    assert booked == [[], [], ["caption"], [], ["transcribe"], ["transcribe", "caption"]]
    assert heard == 2
    for message in messages:
        parts = (part for part in parts_of(message.understood) if part)
        own = sum((call.cost or 0 for call in calls if call.message_id == message.id), Decimal(0))
        assert sum((part.cost or 0 for part in parts), Decimal(0)) == own, "in the currency of the ledger, by its price"
    sound = sum(call.audio_seconds for call in calls)
    told = Decimal(seen.prompt_tokens + 4 * seen.completion_tokens) / 1000 + Decimal(str(round(sound, 3))) * 80 / 100
    total = sum((call.cost or 0 for call in calls), Decimal(0))
    assert abs(total - told) < Decimal("0.001")
    [run] = w.runs(turn)
    assert run.cost == total


@on_sqlite
def test_a_document_is_context_and_not_what_is_searched_for(world: Callable[..., World]) -> None:
    model = Model()
    w = world(model)
    contract = documents.docx([["# Contract", "Delivery within nine days."]])
    w.answer(w.says(("document", "Is this right?", contract)))
    assert w.asked == "Is this right?"
    assert "Delivery within nine days." in str(model.prompts[-1])
    w.answer(w.says(("document", "", contract)))
    assert w.asked.startswith("Document: document.bin Contract Delivery within nine days.")


@on_sqlite
@pytest.mark.parametrize(
    ("content", "reply", "flag"),
    [
        (NotUnderstood("too_large"), "Этот файл слишком большой: я принимаю файлы до 20 МБ.", "unreadable"),
        (NotUnderstood("gone"), "Не получилось скачать этот файл.", "unreadable"),
        (b"", "Не получилось открыть этот файл", "unreadable"),
        (b"\x7fELF\x02\x01\x01\x00" + b"\0" * 60, "Файлы такого вида я не читаю.", "unreadable"),
        (media.silence(1), "В этой записи я ничего не расслышал.", "unreadable"),
    ],
    ids=["large", "gone", "empty", "type", "silent"],
)
def test_what_cannot_be_read_is_told_at_once_in_the_customers_language(
    world: Callable[..., World], content: bytes | Exception, reply: str, flag: str
) -> None:
    w = world(Model())
    turn = w.says(("photo", "", content), locale="ru")
    answer = w.answer(turn)
    assert answer.startswith(reply)
    assert "сотрудник тоже увидит" in answer
    assert (w.flags(turn), w.sender.downloads) == ([flag], 1)
    assert [run.outcome for run in w.runs(turn)] == ["ok"] * 5
    assert not w.model.calls if w.model else False


@on_sqlite
def test_words_beside_a_broken_file_are_answered_and_the_file_is_mentioned(world: Callable[..., World]) -> None:
    w = world(Model())
    turn = w.says(("text", "Which kettles?", None), ("photo", "", b""))
    assert w.answer(turn) == (
        "Yes, it is.\n\nI could not open this file: it is damaged or holds no text. Please send it again."
    )
    assert w.flags(turn) == ["unreadable"]


@on_sqlite
def test_a_spent_budget_and_no_model_are_told_and_a_replay_tries_again(world: Callable[..., World]) -> None:
    model = Model(BudgetSpent("spent"))
    w = world(model)
    turn = w.says(("photo", "", media.picture()))
    assert w.answer(turn).startswith("I cannot look at pictures or listen to recordings at the moment.")
    assert w.flags(turn) == ["budget"]
    with w.database.write() as session:
        replay.request(session, turn, replay.Wish(force=True))
        conversation = session.get_one(Turn, turn).conversation_id
    w.open(conversation)
    assert (w.first, w.answer(turn), w.sender.downloads) == ("understand", "Yes, it is.", 1)
    alone = world()
    assert alone.answer(alone.says(("voice", "", media.recorded("hello")))).startswith("I cannot look at pictures")


@on_sqlite
@pytest.mark.parametrize("where", ["provider", "channel"])
def test_an_outage_is_retried_and_a_file_is_fetched_once(world: Callable[..., World], where: str) -> None:
    model = Model(*([ProviderUnavailable("busy", retry_after=7)] if where == "provider" else []))
    w = world(model)
    turn = w.says(("photo", "Sold?", media.picture()))
    [ref] = w.sender.files
    if where == "channel":
        w.sender.files[ref] = DownloadFailed("busy", 7)
    with pytest.raises(StepRetry) as later:
        run_step(w.runtime, turn, "understand")
    assert later.value.retry_after == 7
    w.sender.files[ref] = media.picture()
    assert w.answer(turn) == "Yes, it is."
    assert w.sender.downloads == (1 if where == "provider" else 2)
    assert sorted(run.outcome for run in w.runs(turn)) == [*["ok"] * 5, "retry"]


@on_sqlite
def test_files_are_deleted_when_their_time_is_over_and_what_they_said_stays(world: Callable[..., World]) -> None:
    w = world(Model())
    w.answer(w.says(("photo", "Sold?", media.picture())))
    folder = w.runtime.settings.data / "media"
    clean_files(w.runtime)
    assert len(list(folder.rglob("*-0"))) == 1
    w.now += timedelta(days=31)
    clean_files(w.runtime)
    assert not list(folder.rglob("*-0"))
    with w.database.read() as session:
        assert session.exec(select(Message.understood)).one()


@on_sqlite
def test_a_replay_of_words_alone_from_understand_begins_with_classify(world: Callable[..., World]) -> None:
    w = world(Model())
    turn = w.says(("text", "Which kettles?", None))
    w.answer(turn)
    with w.database.write() as session:
        assert replay.request(session, turn, replay.Wish(from_step="understand", force=True)).from_step == "classify"
