"""Too much at once: answers get simpler step by step, and a flood is told so once and then kept in silence."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from celery import Celery
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlmodel import col, select

from pipeline.envelope import Envelope, Sender
from pipeline.steps.generate import Policy
from ragline.ids import new_id
from ragline.settings import LoadSettings, Settings
from storage import inbox
from storage.load import load_level
from storage.models import Message, Outbox, RedFlag, Turn
from storage.replay import Wish, request
from storage.session import Database
from tests.workers.test_steps import Model, World, world
from workers.load import Load, account_is_over, degraded
from workers.opening import open_turns

__all__ = ["world"]


class NoBroker(Celery):
    """Takes every task and keeps the names."""

    def __init__(self) -> None:
        super().__init__("test", broker="memory://", set_as_current=False)
        self.names: list[str] = []

    def send_task(self, name: str, *args: Any, **kwargs: Any) -> None:
        self.names.append(name)


def write(w: World, count: int, conversation: str = "c") -> str:
    envelopes = [
        Envelope(
            id=new_id(), channel="api", account="default", conversation=conversation, external_id=new_id(),
            sender=Sender(id="u"), kind="text", text="как быстро?", received_at=w.now,
        )
        for _ in range(count)
    ]  # fmt: skip
    with w.database.write() as session:
        return inbox.accept(session.connection(), envelopes, w.now)[0].conversation_id


def test_the_steps_of_degradation(database: Database, world: Callable[..., World]) -> None:
    settings = LoadSettings(short_history=3, direct_only=5)
    w = world()
    found = []
    for count in (2, 1, 2):
        write(w, count)
        with database.read() as session:
            found.append(load_level(session, settings))
    assert found == [(2, "normal"), (3, "short_history"), (5, "direct_only")]
    policy = Policy(["direct", "grounded"], 0.9, 0.1, history_tokens=500, max_tokens=100)
    assert degraded(policy, "normal") == policy
    assert degraded(policy, "short_history").history_tokens == 0
    assert degraded(policy, "direct_only").modes == ["direct"]


def test_under_the_heaviest_load_no_model_is_asked_and_the_flag_says_why(world: Callable[..., World]) -> None:
    w = world(confidence=0.4, model=Model())
    heavy = w.runtime.settings.model_copy(update={"load": LoadSettings(short_history=1, direct_only=1)})
    w.runtime.__dict__["load"] = Load(w.database, heavy)
    turn_id = w.turn()
    w.steps(turn_id, "generate")
    assert w.one(Turn, turn_id).mode == "unknown"
    assert w.one(RedFlag, turn_id).cause == "overload"
    w.runtime.__dict__["load"] = Load(w.database, w.runtime.settings)
    again = w.turn_in("another")
    w.steps(again, "generate")
    assert w.one(Turn, again).mode == "grounded"


def test_a_flood_is_told_once_and_nothing_of_it_is_lost(world: Callable[..., World], redis_url: str) -> None:
    w = world()
    w.runtime.__dict__["redis"] = Redis.from_url(redis_url)
    w.runtime.settings = Settings.model_validate(
        {"turn": {"max_messages": 1, "quiet_window": 0}, "limits": {"per_sender": 3, "window": 60}}
    )
    app = NoBroker()
    conversation = write(w, 8)

    def close_active() -> None:
        with w.database.write() as session:
            for turn in session.exec(select(Turn).where(Turn.status == "processing")):
                turn.status = "answered"
                session.add(turn)

    for _ in range(8):
        open_turns(w.runtime, app, [conversation])
        close_active()
    with w.database.read() as session:
        ends = session.exec(select(Turn.status, Turn.error_class).order_by(col(Turn.created_at), col(Turn.id))).all()
        notices = session.exec(select(Outbox).where(Outbox.kind == "notice")).all()
        left = session.exec(select(Message).where(col(Message.turn_id).is_(None))).all()
        limited = session.exec(select(Turn.id).where(Turn.error_class == "RateLimited")).first()
    assert ends == [("answered", None)] * 3 + [("failed", "RateLimited")] * 5
    assert ["много" in str(row.body["text"]) for row in notices] == [True]
    assert left == []
    with w.database.write() as session:
        assert request(session, limited or "", Wish()).from_step == "classify"
    w.now += timedelta(seconds=61)
    write(w, 1)
    assert open_turns(w.runtime, app, [conversation]) == {}
    with w.database.read() as session:
        assert session.exec(select(Turn.status).where(Turn.status == "processing")).all() == ["processing"]


def test_an_account_has_a_limit_of_its_own_and_without_redis_none(redis_url: str) -> None:
    settings = Settings.model_validate({"limits": {"per_account": 2}})
    redis = Redis.from_url(redis_url)
    assert [account_is_over(redis, settings, "telegram", "a") for _ in range(3)] == [False, False, True]
    assert not account_is_over(redis, settings, "telegram", "b")
    nobody = Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0))
    assert not any(account_is_over(nobody, settings, "telegram", "a") for _ in range(5))
