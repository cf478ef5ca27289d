"""Whether each model of each route really answers: one tiny request of the kind its route is for."""

from __future__ import annotations

import base64
import io
import struct
import time
import wave
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pipeline import calls
from pipeline.llm import load_litellm
from pipeline.prompts import load
from pipeline.providers import CallFailed, Kind
from pipeline.routes import Deployment, deployment, make_routes
from ragline.settings import RouteName, Settings
from storage.embedder import REMOTE

#: Seconds a probe waits at most: a model that is loaded first may take that long.
PATIENCE = 30.0
#: Tokens a probe asks for; models that think first may spend them all without a word, and have answered then.
MAX_TOKENS = 16
_REMEDIES: dict[Kind, str] = {
    "timeout": "see whether its server is overloaded, or give it a longer timeout",
    "connection": "check its api_base, and that the server runs",
    "server_error": "see the provider's status page; meanwhile the next model of the route is asked",
    "rate_limit": "raise the provider's limit or quota, or add another model to the route",
}


@dataclass(frozen=True)
class Probed:
    """What came of asking one model. ``error`` and ``remedy`` are None where it answered, after ``ms``."""

    route: RouteName
    model: str
    ms: float
    error: str | None = None
    remedy: str | None = None


def probe(settings: Settings) -> Iterator[Probed]:
    """Ask every model of every route, at the same time, cooldowns or not. Costs a fraction of a cent each.

    Raises ``ConfigurationError`` for a route whose key is not in the environment.
    """
    routes = make_routes(settings).named()
    embedder = settings.knowledge.embedder
    if embedder.startswith(REMOTE) and "embed" not in routes:
        name = embedder.removeprefix(REMOTE)
        routes["embed"] = (deployment(name, settings.llm, "knowledge.embedder"),)
    asked = [(name, one) for name, route in routes.items() for one in route]
    if not asked:
        return
    litellm = load_litellm()
    with ThreadPoolExecutor(min(len(asked), 16)) as pool:
        yield from pool.map(lambda pair: _probe(litellm, *pair), asked)


def _probe(litellm: Any, route: RouteName, one: Deployment) -> Probed:
    began = time.perf_counter()

    def ms() -> float:
        return round((time.perf_counter() - began) * 1000, 1)

    try:
        _ask(litellm, route, one, min(one.timeout, PATIENCE))
    except calls.NoText:
        return Probed(route, one.id, ms())
    except CallFailed as failed:
        return Probed(route, one.id, ms(), str(failed.error), _remedy(route, failed))
    return Probed(route, one.id, ms())


def _remedy(route: RouteName, failed: CallFailed) -> str:
    if "check " in str(failed.error):  # it names what is to be mended
        return "mend that, and ask again"
    return _REMEDIES.get(failed.kind, f"set llm.routes.{route} to a model that takes such requests")


def _ask(litellm: Any, route: RouteName, one: Deployment, seconds: float) -> None:
    text = load("probe_request").render()
    if route == "embed":
        calls.embed(litellm, one, [text], seconds=seconds, use=None)
    elif route in ("voice", "transcribe"):
        silence = _silence()
        calls.transcribe(
            litellm, one, silence, "probe.wav", "audio/wav", audio_seconds=1.0, language=None, seconds=seconds
        )
    else:
        parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if route in ("image", "video", "caption"):
            parts.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_picture()}"}})
        content = parts if len(parts) > 1 else text
        calls.chat(
            litellm, one, [{"role": "user", "content": content}], max_tokens=MAX_TOKENS, seconds=seconds
        )  # fmt: skip


def _silence() -> bytes:
    """One second of nothing, as a WAV file of 16 kHz."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(32_000))
    return out.getvalue()


def _picture(size: int = 64) -> str:
    """A grey square as PNG, in base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    rows = (b"\0" + b"\x80" * size) * size
    whole = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + whole).decode()
