"""A model call as the customer sees it: somebody is writing, and where the channel can show it, what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from pipeline.llm import Audio, ChatMessage, Completion, LanguageModel, OnText, Transcript
from pipeline.senders.base import Sender, Show
from pipeline.spending import Purpose
from pipeline.steps.draft import shown
from storage.steps import Claim
from workers.runtime import Runtime


class ShowsWork:
    """The language model of one attempt of a step, during whose calls the customer sees that an answer is being
    written, and the text of an ``answer`` as it grows. In ``human`` mode they see nothing."""

    def __init__(self, runtime: Runtime, held: Claim, model: LanguageModel) -> None:
        self._runtime, self._held, self._model = runtime, held, model
        self._texts = 0

    def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int,
        purpose: Purpose = "answer",
        on_text: OnText | None = None,
    ) -> Completion:
        """See :class:`pipeline.llm.LanguageModel`."""
        with self._shown() as (sender, show), ExitStack() as streaming:
            write = self._writer(sender, show, streaming) if sender and purpose == "answer" else None
            return self._model.complete(messages, max_tokens=max_tokens, purpose=purpose, on_text=write or on_text)

    def transcribe(self, audio: Audio, *, language: str | None = None) -> Transcript:
        """See :class:`pipeline.llm.LanguageModel`."""
        with self._shown():
            return self._model.transcribe(audio, language=language)

    def count_tokens(self, text: str) -> int:
        """See :class:`pipeline.llm.LanguageModel`."""
        return self._model.count_tokens(text)

    @contextmanager
    def _shown(self) -> Iterator[tuple[Sender | None, Show | None]]:
        """The sender, and what it shows a growing text by; None where the customer is to see nothing."""
        talk = self._held.conversation
        if talk.mode == "human":
            yield None, None
            return
        sender = self._runtime.sender(talk.channel, talk.account)
        with sender.working(talk.address) as show:
            yield sender, show

    def _writer(self, sender: Sender, show: Show | None, streaming: ExitStack) -> OnText | None:
        """What takes the model's text as it grows, until ``streaming`` ends.

        None where nobody would see it, or too many texts are shown already: a streamed answer takes ten times the work.
        """
        runtime, held = self._runtime, self._held
        settings = runtime.settings
        if not settings.streaming.enabled or settings.answer.ground_check == "llm":
            return None  # what a model is to judge first is shown when it has
        seen = runtime.live.watched(held.conversation.id) if sender.pull else show is not None
        if not seen or not runtime.streams.acquire(blocking=False):
            return None
        streaming.callback(runtime.streams.release)
        if show is not None:
            return lambda text: show(shown(text))
        self._texts += 1
        draft = runtime.live.begin(held.turn, held.attempt, self._texts)
        streaming.callback(draft.finish)
        return draft.write
