"""The child process that decodes what customers sent: ``child.py MEMORY WHAT ...``.

Decoders are large libraries in C that anybody can send files to: one that crashes, or takes memory without end, must
not take a worker with it. Prints one line of JSON; ``{"problem": ...}`` for a file that cannot be read.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import warnings
from pathlib import Path
from typing import Any

#: Longest side of a picture that a model is shown, and of one of several, pixels.
LARGE, SMALL = 1600, 768
#: Sound as speech models take it: one channel at so many samples a second, Opus at so many bits a second.
RATE, OPUS_RATE, BITS = 16_000, 48_000, 32_000
#: Samples as loud as this at most (of 32768) are silence: models hear words in it.
SILENCE = 100
#: A recording may name others (a play list, a reference): of those only files are opened, and no address.
_LOCAL = {"protocol_whitelist": "file"}
#: Samples encoded at once.
_CHUNK = 480


def main() -> None:
    memory, what, *arguments = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(5)  # answers first
    answers, sys.stdout = sys.stdout, sys.stderr
    try:
        answer = picture(*arguments) if what == "picture" else recording(*arguments)
    except Exception as error:  # a decoder's own, of a file no decoder foresaw
        answer = {"problem": "broken", "error": type(error).__name__}
    answers.write(json.dumps(answer) + "\n")


def picture(source: str, target: str) -> dict[str, Any]:
    """One picture as JPEG: upright, without what its camera noted, at most :data:`LARGE` pixels long."""
    from PIL import Image, ImageOps

    warnings.simplefilter("error", Image.DecompressionBombWarning)
    with Image.open(source) as image:
        image.load()  # a file that is cut off raises here
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            layer = upright.convert("RGBA")
            ground = Image.new("RGBA", layer.size, "white")
            upright = Image.alpha_composite(ground, layer)
        plain = upright.convert("RGB")
    plain.thumbnail((LARGE, LARGE))
    plain.save(target, "JPEG", quality=85)
    return {"width": plain.width, "height": plain.height}


def recording(source: str, folder: str, frames: str, longest: str) -> dict[str, Any]:
    """Sound as ``sound.ogg`` and evenly spaced pictures as ``0.jpg``, ``1.jpg``, ... in ``folder``.

    ``seconds``: the length; ``sound``: whether there is any to be heard; ``frames``: how many there are.
    """
    import av

    target = Path(folder)
    with av.open(source, metadata_errors="ignore", options=_LOCAL) as container:
        known = container.duration / 1_000_000 if container.duration else None
        if known is not None and known > float(longest):
            return {"problem": "too_long"}
        video = next((one for one in container.streams.video if not _is_cover(one)), None)
        has_sound = bool(container.streams.audio)
        if video is None and not has_sound:
            return {"problem": "type"}
        seconds, loudest = _sound(container, target / "sound.ogg", float(longest)) if has_sound else (known or 0.0, 0)
        if seconds > float(longest):
            return {"problem": "too_long"}
    taken = _frames(source, target, int(frames), known or seconds) if video is not None and int(frames) else 0
    return {"seconds": round(max(seconds, known or 0.0), 2), "sound": loudest > SILENCE, "frames": taken}


def _is_cover(stream: Any) -> bool:
    import av

    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _sound(container: Any, target: Path, longest: float) -> tuple[float, int]:
    """Write the sound as Opus; its length in seconds, and its loudest sample. Ends where the file is broken."""
    import av
    import numpy as np

    source = container.streams.audio[0]
    source.thread_type = "NONE"
    samples, loudest = 0, 0
    with av.open(str(target), "w", format="ogg") as out:
        stream = out.add_stream("libopus", rate=OPUS_RATE, layout="mono")
        stream.bit_rate = BITS
        narrow = av.AudioResampler(format="s16", layout="mono", rate=OPUS_RATE, frame_size=_CHUNK * 2)

        def encode(frame: Any) -> None:
            nonlocal samples, loudest
            for piece in narrow.resample(frame):
                samples += piece.samples
                loudest = max(loudest, int(np.abs(piece.to_ndarray().astype(np.int32)).max(initial=0)))
                out.mux(stream.encode(piece))

        try:
            for frame in container.decode(source):
                encode(frame)
                if samples > longest * OPUS_RATE:
                    break
        except av.error.FFmpegError:
            if not samples:
                raise
        encode(None)
        out.mux(stream.encode(None))
    return samples / OPUS_RATE, loudest


def _frames(source: str, target: Path, count: int, seconds: float) -> int:
    """Evenly spaced pictures, as JPEG; how many could be decoded."""
    import av

    taken = 0
    with av.open(source, metadata_errors="ignore", options=_LOCAL) as container:
        stream = next(one for one in container.streams.video if not _is_cover(one))
        stream.thread_type = "NONE"
        for number in range(count):
            moment = seconds * (number + 0.5) / count
            try:
                container.seek(int(moment * 1_000_000))
                frame = _frame_at(container.decode(stream), moment)
            except av.error.FFmpegError:
                continue
            if frame is None:
                continue
            image = frame.to_image()
            image.thumbnail((SMALL, SMALL))
            image.convert("RGB").save(target / f"{taken}.jpg", "JPEG", quality=80)
            taken += 1
            if seconds < 1:
                break  # a moment has one picture
    return taken


def _frame_at(frames: Any, moment: float) -> Any:
    last = None
    for frame in frames:
        last = frame
        if frame.time is None or frame.time >= moment:
            break
    return last


if __name__ == "__main__":
    main()
