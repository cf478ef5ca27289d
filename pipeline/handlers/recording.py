"""Voice messages, music, videos and video notes: speech is transcribed, a few frames are described in one call."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import BudgetSpent, NoModel, NotUnderstood, ProviderRefused, ProviderUnavailable
from pipeline.handlers.base import File, OnlyHeard, Tools, with_cost
from pipeline.handlers.decoding import Decoded, recording
from pipeline.handlers.photo import describe
from pipeline.llm import Completion
from pipeline.turn import Usage
from ragline.logs import get_logger
from storage.understanding import Part, Problem

log = get_logger(__name__)


def understand(files: Sequence[File], tools: Tools) -> list[Part]:
    """A part a file; one with the problem ``silent`` where there is neither a word nor a picture."""
    return [_one(file, tools.of(file)) for file in files]


def _one(file: File, tools: Tools) -> Part:
    own = tools.settings
    decoded = recording(file.path, frames=own.frames, longest=own.longest, within=own.timeout)
    wordless = file.known is not None and file.known.wordless
    heard, language, usages = ("", None, []) if wordless else _hear(decoded, tools)
    try:
        said = _see(decoded, tools, needed=not heard)
    except (NotUnderstood, NoModel, BudgetSpent, ProviderUnavailable, ProviderRefused) as error:
        if not usages and not wordless:
            raise
        return _only_heard(file, tools, error, usages)
    part = Part(
        kind="video" if decoded.frames else "voice" if file.kind == "voice" else "audio",
        name=file.name,
        heard=heard,
        seen=said.text if said else "",
        language=language or tools.language,
        problem=None if heard or said else "silent",
    )
    return with_cost(part, *usages, *([said.usage] if said else []))


def _only_heard(file: File, tools: Tools, error: Exception, usages: list[Usage]) -> Part:
    """What is kept of a film without a word when its pictures cannot be described now: its sound is paid for once."""
    problem: Problem = "budget" if isinstance(error, BudgetSpent) else "no_model"
    part = Part(kind="video", name=file.name, wordless=True, problem=problem, language=tools.language)
    part = with_cost(part, *usages)
    if isinstance(error, ProviderUnavailable | ProviderRefused) and not isinstance(error, NoModel):
        raise OnlyHeard(part, error) from error
    return part


def _see(decoded: Decoded, tools: Tools, *, needed: bool) -> Completion | None:
    """What the pictures show. Where words were heard, and paid for, the pictures are worth no failure."""
    if not decoded.frames:
        return None
    try:
        return describe(decoded.frames, tools, video=True)
    except (NotUnderstood, BudgetSpent, ProviderUnavailable, ProviderRefused) as error:
        if needed:
            raise
        log.warning("video_heard_and_not_seen", error=type(error).__name__)
        return None


def _hear(decoded: Decoded, tools: Tools) -> tuple[str, str | None, list[Usage]]:
    """What is said, in which language, and what it cost. A video without a word is no failure."""
    if decoded.sound is None:
        return "", None, []
    if tools.transcribe is None and decoded.frames:
        return "", None, []
    transcript = tools.hearing()(decoded.sound, None)
    return transcript.text.strip(), transcript.language, [transcript.usage]
