"""A language model that never sees who the customer is.

What customers wrote is masked in every message; the company's own passages stay as they are, and so does what a
customer repeats from them: the shop's telephone is no secret, and the model must see that it is the same one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pipeline.llm import Audio, ChatMessage, Completion, LanguageModel, OnText, Transcript
from pipeline.marks import BLOCKS
from pipeline.masking.reach import masks
from pipeline.masking.spans import canonical
from pipeline.masking.vault import Vault
from pipeline.prompts import load
from pipeline.spending import Purpose
from ragline.settings import Settings

#: The blocks of the knowledge base, and the marks of the others. Customers cannot write either: see ``as_data``.
_PASSAGES = re.compile(r"<passages\b[^<>]*>.*?</passages>", re.DOTALL)
_OWN = re.compile(
    rf'({_PASSAGES.pattern}|</?(?:{"|".join(BLOCKS)})(?: (?:key|number)="\w{{0,40}}")*>)',
    re.DOTALL,
)


def masked(model: LanguageModel, settings: Settings) -> LanguageModel:
    """``model`` for one turn: masked where ``privacy.masking`` says so."""
    return MaskingModel(model) if masks(settings) else model


class MaskingModel:
    """Masks what goes out to ``model`` and restores what comes back. One for each turn, whose own its marks are."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._vault = Vault()

    def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int,
        purpose: Purpose = "answer",
        on_text: OnText | None = None,
    ) -> Completion:
        masked = self._masked(messages)
        growing = _Growing(self._vault, on_text) if on_text else None
        completion = self._model.complete(masked, max_tokens=max_tokens, purpose=purpose, on_text=growing)
        text = self._vault.restore(completion.text)
        if growing:
            growing.end(text)
        return replace(completion, text=text)

    def transcribe(self, audio: Audio, *, language: str | None = None) -> Transcript:
        """What is said, unmasked: sound cannot be. The text is masked when it is part of a prompt."""
        return self._model.transcribe(audio, language=language)

    def count_tokens(self, text: str) -> int:
        return self._model.count_tokens(text)

    def _masked(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        texts = [part for message in messages for part in _texts(message)]
        written = [piece for text in texts for piece, own in _pieces(text) if not own]
        if any(self._vault.recognise(piece) for piece in written):
            spare = self._public(texts)
            for piece in written:
                self._vault.learn(piece, spare=spare)
        masked = [_with_texts(message, self._mask_text) for message in messages]
        return _with_note(masked) if self._vault else masked

    def _public(self, texts: Sequence[str]) -> frozenset[str]:
        """The identifiers that stand in the passages, in canonical form."""
        passages = [match.group() for text in texts for match in _PASSAGES.finditer(text)]
        return frozenset(
            canonical(one.kind, passage[one.start : one.end])
            for passage in passages
            for one in self._vault.recognise(passage)
        )

    def _mask_text(self, text: str) -> str:
        return "".join(self._vault.protect(piece) if own else self._vault.mask(piece) for piece, own in _pieces(text))


class _Growing:
    """Passes on a text that grows, never with a part of a mark in it."""

    def __init__(self, vault: Vault, on_text: OnText) -> None:
        self._vault, self._on_text = vault, on_text
        self._told = ""

    def __call__(self, text: str) -> None:
        certain = self._vault.restore_growing(text)
        if certain != self._told or not text:
            self._told = certain
            self._on_text(certain)

    def end(self, text: str) -> None:
        """What was held back at the end was no mark."""
        if self._told and text != self._told and text.startswith(self._told):
            self._on_text(text)


def _texts(message: ChatMessage) -> list[str]:
    """The texts of a message, whose content is a text or a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        return [part["text"] for part in content if isinstance(part.get("text"), str)]
    return [content] if isinstance(content, str) else []


def _with_texts(message: ChatMessage, change: Callable[[str], str]) -> ChatMessage:
    content: Any = message.get("content")
    if isinstance(content, list):
        parts = [
            {**part, "text": change(part["text"])} if isinstance(part.get("text"), str) else part for part in content
        ]
        return {**message, "content": parts}
    return {**message, "content": change(content)} if isinstance(content, str) else message


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The text in order; True: the company's own, or the mark of a block."""
    for number, piece in enumerate(_OWN.split(text)):
        if piece:
            yield piece, bool(number % 2)


def _with_note(messages: list[ChatMessage]) -> list[ChatMessage]:
    """The messages, the first of which says what the marks are."""
    note = load("masked_data_note").render()
    first = messages[0] if messages else {"role": "user", "content": ""}
    if first.get("role") == "system" and isinstance(first.get("content"), str):
        return [{**first, "content": f"{first['content']}\n\n{note}"}, *messages[1:]]
    return [{"role": "system", "content": note}, *messages]
