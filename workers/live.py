"""Texts that models are writing, put into Redis for the ways in to show: one thread a worker process writes them all.

Whoever reads a provider's stream only leaves the newest text here. Redis being slow or away costs the live text, never
the answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError

from pipeline.steps.draft import shown
from ragline.logs import get_logger
from storage import live
from storage.rows import TurnRow

#: Seconds a stream is kept: while it is written to, and after its text is over; by then the answer is in SQL.
WRITTEN, OVER = 900, 300
#: Seconds without a try after Redis failed.
PAUSE = 1.0
log = get_logger(__name__)


class LiveDraft:
    """The text of one model call as it grows. :meth:`write` may be called from any thread, and does not wait."""

    def __init__(self, live_: Live, turn: TurnRow, attempt: int, text: int) -> None:
        self._live = live_
        self._turn, self._attempt, self._text = turn, attempt, text
        self._raw = ""
        self._over = False
        self._begun = False  # the stream has its expiry, and the ways in know of it
        self._whole = True  # the next entry tells the whole text
        self._sent = ""
        self._entries = 0
        self.queued = False

    def write(self, text: str) -> None:
        """``text`` is all that the model has written so far; an empty one where another model begins anew."""
        first = not self._raw
        self._raw = text
        self._live.changed(self, urgent=first)

    def finish(self) -> None:
        """The call is over, however it ended."""
        self._over = True
        self._live.changed(self, urgent=True)

    @property
    def wanted(self) -> bool:
        """Whether what failed to be written is worth another try: not queued meanwhile, and not over."""
        return not self.queued and not self._over

    def put(self, pipe: Pipeline) -> None:
        """Add what is new to ``pipe``. Called by the writing thread alone, which says :meth:`lost` if it failed."""
        over, text = self._over, shown(self._raw)
        if not text.startswith(self._sent):  # another model, or the text turned out to be no answer
            self._text += 1
            self._sent, self._whole = "", True
        if self._begun and not over and text == self._sent and not self._whole:
            return
        whole = self._whole or self._entries % live.WHOLE_EVERY == 0
        offset = 0 if whole else len(self._sent)
        number = live.number(self._turn.round, self._attempt, self._text)
        name = live.key(self._turn.id)
        fields = live.entry(number, offset, text[offset:], over=over)
        pipe.xadd(name, fields, maxlen=live.KEPT, approximate=True)  # type: ignore[arg-type]
        if whole or over:
            pipe.expire(name, OVER if over else WRITTEN)
        if not self._begun:
            pipe.publish(self._live.news, self._turn.conversation_id)
        self._sent, self._whole, self._begun = text, False, True
        self._entries += 1

    def lost(self) -> None:
        """What was put may not have arrived: begin again with the whole text."""
        self._begun, self._whole = False, True


class Live:
    """The drafts of one process. ``period``: each is written at most so often, but its first words at once."""

    def __init__(self, redis: Callable[[], Redis], news: str, period: timedelta) -> None:
        self.news = news
        self._redis = redis
        self._period = period.total_seconds()
        self._news = threading.Condition()
        self._waiting: list[LiveDraft] = []
        self._urgent = False
        self._closing = False
        self._failing = False
        self._thread: threading.Thread | None = None

    def watched(self, conversation_id: str) -> bool:
        """Whether somebody watches the conversation now."""
        try:
            return bool(self._redis().exists(live.watched_key(conversation_id)))
        except RedisError:
            return False

    def begin(self, turn: TurnRow, attempt: int, text: int) -> LiveDraft:
        """The draft of the ``text``-th call of a step's attempt. Listeners are told at once that it begins."""
        draft = LiveDraft(self, turn, attempt, text)
        self.changed(draft, urgent=True)
        return draft

    def changed(self, draft: LiveDraft, *, urgent: bool) -> None:
        """Write ``draft`` soon, or now."""
        with self._news:
            if not draft.queued:
                draft.queued = True
                self._waiting.append(draft)
            self._urgent |= urgent
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="live", daemon=True)
                self._thread.start()
            self._news.notify()

    def close(self) -> None:
        """Write what waits, and end the thread."""
        with self._news:
            self._closing = True
            self._news.notify()
            thread = self._thread
        if thread is not None:
            thread.join(PAUSE * 5)

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._closing)
                drafts, self._waiting, self._urgent = self._waiting, [], False
                for draft in drafts:
                    draft.queued = False
            if not drafts:
                return
            failed = not self._write(drafts)
            with self._news:
                if failed:
                    self._news.wait_for(lambda: self._closing, PAUSE)
                    for draft in drafts:
                        if draft.wanted:
                            draft.queued = True
                            self._waiting.append(draft)
                else:
                    self._news.wait_for(lambda: self._urgent or self._closing, self._period)

    def _write(self, drafts: list[LiveDraft]) -> bool:
        pipe = self._redis().pipeline(transaction=False)
        try:
            for draft in drafts:
                draft.put(pipe)
            pipe.execute()
        except RedisError as error:
            if not self._failing:
                log.warning("live_text_not_written", error=type(error).__name__)
            for draft in drafts:
                draft.lost()
            self._failing = True
            return False
        except Exception:  # a fault of ours costs these texts, and not those to come
            log.exception("live_text_broke")
            return True
        self._failing = False
        return True
