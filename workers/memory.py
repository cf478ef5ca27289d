"""The past of the conversation a turn is in, out of SQL."""

from __future__ import annotations

from functools import partial

from pipeline.history import Line, Memory, Past
from storage import summaries, turns
from storage.steps import Claim
from workers.runtime import Runtime


class ConversationMemory:
    """The lines before a turn's messages, and the notes on the older ones."""

    def __init__(self, runtime: Runtime, held: Claim) -> None:
        self._runtime, self._talk, self._before = runtime, held.conversation.id, held.messages[0].seq

    def read(self) -> Past:
        with self._runtime.database.read() as session:
            summary, upto = summaries.read(session, self._talk, before_seq=self._before)
            lines = turns.history(session, self._talk, after_seq=upto, before_seq=self._before)
        return Past(summary, upto, [Line(*line) for line in lines])

    def keep(self, summary: str, upto: int) -> None:
        now = self._runtime.clock()
        self._runtime.database.commit(
            partial(summaries.keep, conversation_id=self._talk, text=summary, upto=upto, now=now)
        )


def memory_of(runtime: Runtime, held: Claim) -> Memory | None:
    """The memory of a turn's conversation; None on an account that has it switched off."""
    talk = held.conversation
    account = runtime.settings.channels.get(talk.channel, {}).get(talk.account)
    return None if account and not account.memory else ConversationMemory(runtime, held)
