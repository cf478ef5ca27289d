"""The past of a conversation, out of SQL and of that conversation alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from pipeline.history import LINES, Line, Memory, Past
from ragline.clock import utcnow
from ragline.settings import Settings
from storage import summaries, turns
from storage.session import Database


class SqlMemory:
    """The lines before ``before_seq``, and the notes on the older ones of them."""

    def __init__(
        self, database: Database, conversation_id: str, before_seq: int, clock: Callable[[], datetime] = utcnow
    ) -> None:
        self._database, self._talk, self._before, self._clock = database, conversation_id, before_seq, clock

    def read(self) -> Past:
        with self._database.read() as session:
            summary, upto = summaries.read(session, self._talk, before_seq=self._before)
            lines = turns.history(session, self._talk, after_seq=upto, before_seq=self._before, limit=LINES)
        return Past(summary, upto, [Line(*line) for line in lines])

    def keep(self, summary: str, upto: int) -> None:
        now = self._clock()
        self._database.commit(
            lambda connection: summaries.keep(connection, self._talk, summary, upto, now=now), single=True
        )


def memory_of(settings: Settings, channel: str, account: str, memory: Memory) -> Memory | None:
    """``memory``; None on an account that has it switched off."""
    own = settings.channels.get(channel, {}).get(account)
    return None if own and not own.memory else memory
