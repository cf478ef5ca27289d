"""Speech on this host, by faster-whisper (the extra ``whisper``). Nothing leaves it, and nothing is paid for."""

from __future__ import annotations

import io
import threading
from functools import lru_cache
from typing import Any

from pipeline.llm import Audio, Transcript
from pipeline.turn import Usage
from ragline.errors import ConfigurationError, PermanentError

#: One recording at a time: a model of this kind uses all the cores it may.
_one_at_a_time = threading.Lock()


def transcribe(folder: str, audio: Audio, language: str | None) -> Transcript:
    """What is said in a recording. Raises ``PermanentError`` where the model cannot be loaded."""
    try:
        model = _model(folder)
    except ConfigurationError as error:
        raise PermanentError(str(error)) from error
    with _one_at_a_time:
        segments, about = model.transcribe(io.BytesIO(audio.data), language=language, vad_filter=False)
        text = " ".join(segment.text.strip() for segment in segments)
    return Transcript(text.strip(), about.language, Usage(model="faster-whisper"))


@lru_cache(maxsize=1)
def _model(folder: str) -> Any:
    try:
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise ConfigurationError(
            "media.whisper is set, and faster-whisper is not installed: pip install 'ragline[whisper]'"
        ) from error
    try:
        return WhisperModel(folder, device="cpu", compute_type="int8", local_files_only=True)
    except (RuntimeError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"media.whisper: no model can be loaded from there ({type(error).__name__}); give the folder of a "
            "CTranslate2 Whisper model"
        ) from error
