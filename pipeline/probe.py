"""Whether each model of each route really answers: one tiny request of the kind its route is for."""

from __future__ import annotations

import base64
import io
import struct
import time
import wave
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pipeline import calls
from pipeline.calls import Answered
from pipeline.health import Health
from pipeline.llm import IMAGE_TOKENS, load_litellm, once
from pipeline.prompts import load
from pipeline.providers import CallFailed, Kind
from pipeline.routes import Deployment, deployment, make_routes
from pipeline.spending import Meter, Modality, Quote
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


def probe(settings: Settings, meter: Meter) -> Iterator[Probed]:
    """Ask every model of every route, at the same time, cooldowns or not. Costs a fraction of a cent each, paid from
    ``meter``.

    Raises what ``meter`` raises, and ``ConfigurationError`` for a route whose key is not in the environment.
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
        yield from pool.map(lambda pair: _probe(litellm, meter, *pair), asked)


def _probe(litellm: Any, meter: Meter, route: RouteName, one: Deployment) -> Probed:
    began = time.perf_counter()

    def ms() -> float:
        return round((time.perf_counter() - began) * 1000, 1)

    quote, ask = _request(litellm, route, one)
    health = Health()  # of its own: nobody's cooldown begins or ends here
    try:
        once(one, quote, ask, until=health.now() + PATIENCE, meter=meter, health=health)
    except calls.NoText:
        return Probed(route, one.id, ms())
    except CallFailed as failed:
        return Probed(route, one.id, ms(), str(failed.error), _remedy(route, failed))
    return Probed(route, one.id, ms())


def _remedy(route: RouteName, failed: CallFailed) -> str:
    if "check " in str(failed.error):  # it names what is to be mended
        return "mend that, and ask again"
    return _REMEDIES.get(failed.kind, f"set llm.routes.{route} to a model that takes such requests")


def _request(
    litellm: Any, route: RouteName, one: Deployment
) -> tuple[Quote, Callable[[Deployment, float], Answered]]:  # fmt: skip
    """The most that the request of a route costs, and what makes it."""
    text = load("probe_request").render()
    if route == "embed":

        def embed(one: Deployment, seconds: float) -> Answered:
            return calls.embed(litellm, one, [text], seconds=seconds, use=None)

        return Quote(one.model, "probe", tokens_in=len(text)), embed
    if route in ("voice", "transcribe"):

        def listen(one: Deployment, seconds: float) -> Answered:
            return calls.transcribe(
                litellm, one, _silence(), "probe.wav", "audio/wav", audio_seconds=1.0, language=None, seconds=seconds
            )

        return Quote(one.model, "probe", "voice", 300, 300, audio_seconds=1.0), listen
    seen = route in ("image", "video", "caption")
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_picture()}"}}
    message = {"role": "user", "content": [{"type": "text", "text": text}, picture] if seen else text}
    tokens = calls.estimate_tokens(litellm, one.model, [message]) + (IMAGE_TOKENS if seen else 0)

    def chat(one: Deployment, seconds: float) -> Answered:
        return calls.chat(litellm, one, [message], max_tokens=MAX_TOKENS, seconds=seconds, images=int(seen))

    modality: Modality = "video" if route == "video" else "image" if seen else "text"
    return Quote(one.model, "probe", modality, tokens, MAX_TOKENS, images=int(seen)), chat


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
