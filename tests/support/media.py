"""Real files made for tests: pictures with known text, speech, videos with sound, and broken ones."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import zlib
from functools import cache

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

RATE = 16_000


@cache
def picture(text: str = "KETTLE K-200", form: str = "JPEG") -> bytes:
    """A picture on which ``text`` can be read."""
    image = Image.new("RGB", (640, 360), "white")
    ImageDraw.Draw(image).text((40, 150), text, fill="black", font=ImageFont.load_default(48))
    out = io.BytesIO()
    image.save(out, form)
    return out.getvalue()


@cache
def blank_png(width: int, height: int) -> bytes:
    """A picture of nothing, some kilobytes as a file and ``width`` times ``height`` pixels in memory."""
    packer, row = zlib.compressobj(9), b"\0" * (1 + (width + 7) // 8)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


@cache
def speech(words: str, voice: str = "en") -> bytes:
    """A recording (WAV) of ``words``, by espeak-ng; without it of sounds that rise and fall as speech does."""
    if shutil.which("espeak-ng"):
        command = ["espeak-ng", "-v", voice, "--stdout", words]
        return subprocess.run(command, check=True, capture_output=True, timeout=20).stdout
    length = np.arange(int(RATE * 0.08 * max(len(words), 5))) / RATE
    tune = np.sin(2 * np.pi * (180 + 60 * np.sin(2 * np.pi * 3 * length)) * length)
    return wav((tune * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * length)) * 9000).astype(np.int16))


def wav(samples: np.ndarray) -> bytes:
    """Samples of 16 bits as a WAV file."""
    data = samples.astype("<i2").tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16,
                       b"data", len(data))  # fmt: skip
    return head + data


@cache
def recorded(words: str, form: str = "ogg", codec: str = "libopus") -> bytes:
    """Speech as messengers send it: Opus in Ogg, MP3, or AAC in MP4."""
    out = io.BytesIO()
    with av.open(out, "w", format=form) as target:
        _encode(target, target.add_stream(codec, rate=48_000, layout="mono"), speech(words))
    return out.getvalue()


@cache
def video(words: str | None = "Is this kettle still sold?", text: str = "KETTLE K-200", seconds: float = 2) -> bytes:
    """An MP4 that shows ``text``, and in which ``words`` are said; None: without sound."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as target:
        shown = target.add_stream("mpeg4", rate=10)
        shown.width, shown.height, shown.pix_fmt = 320, 180, "yuv420p"
        said = target.add_stream("aac", rate=48_000, layout="mono") if words else None
        frame = Image.open(io.BytesIO(picture(text))).resize((320, 180))
        for _ in range(int(seconds * 10)):
            target.mux(shown.encode(av.VideoFrame.from_image(frame)))
        target.mux(shown.encode(None))
        if said is not None and words:
            _encode(target, said, speech(words))
    return out.getvalue()


def _encode(target: av.container.OutputContainer, stream: av.AudioStream, sound: bytes) -> None:
    with av.open(io.BytesIO(sound)) as source:
        fit = av.AudioResampler(format=stream.format, layout="mono", rate=stream.rate, frame_size=stream.frame_size)
        for frame in (*source.decode(source.streams.audio[0]), None):
            for piece in fit.resample(frame):
                target.mux(stream.encode(piece))
    target.mux(stream.encode(None))


def silence(seconds: float) -> bytes:
    """A recording in which nothing is said."""
    return wav(np.zeros(int(RATE * seconds), np.int16))
