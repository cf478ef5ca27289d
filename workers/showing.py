"""A model call as the customer sees it: somebody is writing, and where the channel can show it, what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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

        def ask(told: OnText | None) -> Completion:
            return self._model.complete(messages, max_tokens=max_tokens, purpose=purpose, on_text=told)

        with self._shown() as (sender, show):
            if sender is None or purpose != "answer" or not self._runtime.settings.streaming.enabled:
                return ask(on_text)
            with self._growing(sender, show) as write:
                return ask(write)

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

    @contextmanager
    def _growing(self, sender: Sender, show: Show | None) -> Iterator[OnText | None]:
        """What the model's text is given to; None where the channel cannot show it."""
        if not sender.pull:
            yield None if show is None else lambda text: show(shown(text))
            return
        self._texts += 1
        draft = self._runtime.live.begin(self._held.turn, self._held.attempt, self._texts)
        try:
            yield draft.write
        finally:
            draft.finish()
