"""Answers kept, to see which of them a change of the knowledge or of the prompts alters.

Of a stored answer the text counts. A model's text varies by itself, so of a grounded answer what is compared is what
it rests on: the items, and the digest of the prompt the model is given. By default no model is asked for either.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import BudgetSpent
from pipeline.evaluation.asking import Base, Progress, ask_all
from pipeline.llm import Audio, ChatMessage, Completion, LanguageModel, OnText, Transcript
from pipeline.run import Asked
from pipeline.spending import Purpose
from pipeline.turn import Usage
from ragline.errors import ConfigurationError, PermanentError

VERSION = 1


@dataclass(frozen=True)
class Kept:
    """One answer. ``question``: the messages that ask it. ``items``: ids it rests on, best first.

    ``prompt``: digest of what a model was to be asked; None where none was, and then ``text`` is compared.
    """

    question: tuple[str, ...]
    mode: str
    items: tuple[str, ...]
    text: str
    prompt: str | None
    confidence: float


@dataclass(frozen=True)
class Change:
    """An answer that is another one now. ``changed``: among mode, items, text and prompt."""

    changed: tuple[str, ...]
    before: Kept
    after: Kept


@dataclass(frozen=True)
class AnswerSet:
    """Kept answers. ``model_asked``: grounded ones were written by the model, and their items are those it cited."""

    answers: tuple[Kept, ...]
    model_asked: bool


class _Prompted:
    """Notes what a language model is asked, and asks it only where it is to be paid."""

    def __init__(self, model: LanguageModel, *, asked: bool) -> None:
        self._model, self._asked = model, asked
        self.prompt: str | None = None

    def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int,
        purpose: Purpose = "answer",
        on_text: OnText | None = None,
    ) -> Completion:
        if purpose == "answer" and self.prompt is None:  # not what it is told of an answer that was not sent
            whole = json.dumps([list(messages), max_tokens], ensure_ascii=False, sort_keys=True)
            self.prompt = hashlib.sha256(whole.encode()).hexdigest()
        if self._asked:
            try:
                return self._model.complete(messages, max_tokens=max_tokens, purpose=purpose, on_text=on_text)
            except BudgetSpent as error:  # the answers without a model are others, and no change of the base
                raise PermanentError(f"the evaluation stops: {error}") from error
        return Completion("(the model was not asked)", Usage())

    def transcribe(self, audio: Audio, *, language: str | None = None) -> Transcript:
        return self._model.transcribe(audio, language=language)

    def count_tokens(self, text: str) -> int:
        return self._model.count_tokens(text)


def answer_set(
    questions: Sequence[tuple[str, ...]],
    base: Base,
    *,
    model: LanguageModel | None,
    model_asked: bool,
    progress: Progress,
) -> AnswerSet:
    """The answers of ``base`` to these questions. With ``model_asked`` the model is called, and paid, for each."""
    watched = [_Prompted(model, asked=model_asked) if model else None for _ in questions]
    found = ask_all(questions, base, progress=progress, model=lambda number: watched[number])
    kept = (
        _keep(question, asked, prompted.prompt if prompted else None, model_asked)
        for question, asked, prompted in zip(questions, found, watched, strict=True)
    )
    return AnswerSet(tuple(kept), model_asked and model is not None)


def _keep(question: tuple[str, ...], asked: Asked, prompt: str | None, model_asked: bool) -> Kept:
    cited = tuple(citation.id for citation in asked.citations)
    given = tuple(passage.id for passage in asked.passages)
    unasked = prompt is not None and not model_asked
    # What is said in a model's place rests on nothing and is not sent.
    mode, items = ("grounded", given) if unasked else (asked.mode, cited)
    return Kept(question, mode, items, asked.answer, prompt, asked.confidence)


def differences(before: Sequence[Kept], after: Sequence[Kept]) -> list[Change]:
    """The answers that differ, in order. A change of confidence alone is none."""
    changes = []
    for old, new in zip(before, after, strict=True):
        names = ("mode", "items", "prompt") if old.prompt and new.prompt else ("mode", "items", "text")
        changed = tuple(name for name in names if getattr(old, name) != getattr(new, name))
        if changed:
            changes.append(Change(changed, old, new))
    return changes


def write_answers(path: Path, answers: AnswerSet) -> None:
    """Keep answers in a file only its owner can read: it holds what customers wrote.

    Raises :class:`ConfigurationError` when it cannot be written.
    """
    rows = [asdict(answer) for answer in answers.answers]
    content = {"version": VERSION, "model_asked": answers.model_asked, "answers": rows}
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            json.dump(content, out, ensure_ascii=False, indent=1)
            out.write("\n")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written ({error.strerror})") from error


def read_answers(path: Path) -> AnswerSet:
    """Answers kept in a file. Raises :class:`ConfigurationError` for a file that is none."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: is not JSON ({error}); make it with `ragline eval save`") from error
    try:
        if read["version"] != VERSION:
            raise ConfigurationError(f"{path}: is of another version; make it anew with `ragline eval save`")
        return AnswerSet(tuple(_kept(row) for row in read["answers"]), bool(read["model_asked"]))
    except (KeyError, TypeError) as error:
        raise ConfigurationError(f"{path}: holds no kept answers; make it with `ragline eval save`") from error


def _kept(row: dict[str, Any]) -> Kept:
    return Kept(**{**row, "question": tuple(row["question"]), "items": tuple(row["items"])})
