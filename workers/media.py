"""Files of customers in a worker: from the channel into the media storage, read, and deleted in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import IO, Literal, NamedTuple, cast

from pipeline.handlers.base import FileKind, Tools, Transcribe
from pipeline.llm import Audio, LanguageModel, Transcript
from pipeline.steps.classify import language_of
from pipeline.steps.understand import Asked, understand
from pipeline.turn import Usage
from ragline.logs import get_logger
from storage import turns
from storage.media import kept_key, key_of
from storage.steps import MEDIA_KINDS, Claim
from storage.understanding import keep, parts_of
from workers.runtime import Runtime

log = get_logger(__name__)
#: Earlier lines that tell the language of a customer who sent a file without a word.
LINES = 10


class Understood(NamedTuple):
    """What the understand step cost; what it found is on the messages."""

    usage: Usage


def understand_files(runtime: Runtime, held: Claim, paid: Callable[[str | None], LanguageModel | None]) -> Usage:
    """Read the files of a turn's messages; see :func:`pipeline.steps.understand.understand`.

    ``paid`` gives the model whose calls are booked on the message of an id.
    """
    envelopes = {message.id: turns.envelope_of(message) for message in held.messages}
    asked = [
        Asked(message.id, cast(FileKind, envelope.kind), envelope.media, parts_of(message.understood))
        for message, envelope in ((message, envelopes[message.id]) for message in held.messages)
        if envelope.kind in MEDIA_KINDS and envelope.media
    ]
    words = "\n".join(message.text for message in held.messages if message.text.strip())
    model = paid(None)
    unpaid = Tools(
        settings=runtime.settings.media,
        model=model,
        transcribe=_transcriber(runtime, model),
        language=_language(runtime, held, words),
        words=words,
    )

    def paid_for(message_id: str) -> Tools:
        model = paid(message_id)
        return replace(unpaid, model=model, transcribe=_transcriber(runtime, model))

    tools = replace(unpaid, paid_for=paid_for)

    def fetch(message: Asked, position: int, into: IO[bytes]) -> None:
        envelope = envelopes[message.id]
        key = kept_key(message.media[position].ref) or key_of(message.id, position, envelope.received_at)
        if runtime.media.get(key, into):
            return
        runtime.sender(envelope.channel, envelope.account).download(message.media[position], into)
        into.flush()
        with open(into.name, "rb") as file:
            runtime.media.put(key, file)

    def store(message: Asked) -> None:
        runtime.database.commit(partial(keep, message_id=message.id, parts=list(message.parts)))

    return understand(asked, tools=tools, fetch=fetch, keep=store)


def clean_files(runtime: Runtime) -> None:
    """Delete the files that are older than ``media.keep``."""
    before = (runtime.clock() - runtime.settings.media.keep).date()
    if days := runtime.media.clean(before):
        log.info("media_cleaned", days=days, before=before.isoformat())


def _transcriber(runtime: Runtime, model: LanguageModel | None) -> Transcribe | None:
    folder = runtime.settings.media.whisper
    if folder:
        from pipeline.handlers import whisper

        return partial(whisper.transcribe, folder)
    if model is None:
        return None

    def transcribe(audio: Audio, language: str | None) -> Transcript:
        return model.transcribe(audio, language=language)

    return transcribe


def _language(runtime: Runtime, held: Claim, words: str) -> Literal["ru", "en"]:
    """The customer's language: of what they wrote with the files, else of what they wrote before."""
    talk = held.conversation
    if not any(letter.isalpha() for letter in words):
        with runtime.database.read() as session:
            earlier = turns.history(session, talk.id, before_seq=held.messages[0].seq, limit=LINES)
        words = "\n".join(line for _, role, line in earlier if role == "customer")
    return language_of(words, talk.locale)
