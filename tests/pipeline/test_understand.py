"""Files as text: what each content becomes, what is asked of models for it, and what is said of broken ones."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from PIL import Image

from pipeline.envelope import MediaRef
from pipeline.errors import BudgetSpent, NoModel, NotUnderstood, ProviderUnavailable
from pipeline.handlers.base import Tools
from pipeline.llm import Audio, Completion, Transcript
from pipeline.steps.understand import Asked, understand
from pipeline.turn import Usage
from ragline.settings import MediaSettings
from storage.sniff import sniff
from storage.understanding import Part
from tests.support import documents, media

PRICE = Decimal("0.001")
#: A ZIP archive that asks for a version of the format nobody knows.
NEWER_ZIP = documents.docx([["text"]]).replace(b"PK\x01\x02\x14\x03\x14", b"PK\x01\x02\x14\x03\xff")


class Model:
    """A language model that notes what it was asked. ``fails``: raised instead of a description."""

    def __init__(
        self, heard: str = "is it sold", seen: str = "A kettle, K-200.", fails: Exception | None = None
    ) -> None:
        self.heard, self.seen, self.fails = heard, seen, fails
        self.pictures: list[list[Image.Image]] = []
        self.prompts: list[str] = []
        self.sounds: list[Audio] = []

    def complete(self, messages: Sequence[dict[str, Any]], *, max_tokens: int, purpose: str, **_: Any) -> Completion:
        assert purpose == "caption"
        if self.fails:
            raise self.fails
        text, *shown = messages[0]["content"]
        self.prompts.append(text["text"])
        encoded = [part["image_url"]["url"].removeprefix("data:image/jpeg;base64,") for part in shown]
        self.pictures.append([Image.open(io.BytesIO(base64.b64decode(one))) for one in encoded])
        return Completion(self.seen, Usage(tokens_in=100, tokens_out=9, cost=PRICE, model="test/sees"))

    def transcribe(self, audio: Audio, *, language: str | None = None) -> Transcript:
        self.sounds.append(audio)
        return Transcript(self.heard, "en", Usage(cost=PRICE, model="test/hears"))

    def count_tokens(self, text: str) -> int:
        return len(text.split())


def read(
    *files: tuple[str, bytes, str | None], model: Model | None = None, known: Sequence[Part | None] = (), **own: Any
) -> tuple[list[Part | None], Usage, int]:
    """Each file as a message (what it is sent as, what it holds, its name): parts, cost, how often they were kept."""
    tools = Tools(
        settings=MediaSettings(**own),
        model=model,
        transcribe=(lambda audio, language: model.transcribe(audio, language=language)) if model else None,
        language="en",
        words="Is it sold?",
    )
    asked = [
        Asked(str(number), kind, [MediaRef(type=kind, ref="r", name=name, size=len(content))], list(known[number:][:1]))
        for number, (kind, content, name) in enumerate(files)
    ]
    kept = 0

    def fetch(message: Asked, position: int, into: IO[bytes]) -> None:
        into.write(files[int(message.id)][1])

    def keep(message: Asked) -> None:
        nonlocal kept
        kept += 1

    usage = understand(asked, tools=tools, fetch=fetch, keep=keep)
    return [part for message in asked for part in message.parts], usage, kept


def problem(*file: Any, **own: Any) -> str | None:
    [part], _, _ = read(file, **own)
    assert part is not None
    return part.problem


def test_a_picture_is_described_small_upright_and_without_what_its_camera_noted() -> None:
    image = Image.new("RGBA", (4000, 1000), (255, 0, 0, 128))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    out = io.BytesIO()
    image.save(out, "PNG", exif=exif)
    model = Model()
    [part], usage, kept = read(("photo", out.getvalue(), None), model=model)
    assert part == Part(
        kind="photo", seen="A kettle, K-200.", language="en", tokens_in=100, tokens_out=9, cost=PRICE, model="test/sees"
    )
    assert (usage.cost, kept) == (PRICE, 1)
    [[shown]] = model.pictures
    assert (shown.size, shown.format, dict(shown.getexif())) == ((400, 1600), "JPEG", {})
    assert "Is it sold?" in model.prompts[0]


def test_an_album_is_one_call_and_one_broken_picture_of_it_spoils_nothing() -> None:
    model = Model()
    cut = media.picture()[:3000]
    files = [("photo", media.picture("ONE"), None), ("photo", cut, None), ("photo", media.picture("THREE"), None)]
    parts, usage, _ = read(*files, model=model)
    assert [(part.seen, part.shared, part.problem) for part in parts if part] == [
        ("A kettle, K-200.", False, None),
        ("", False, "broken"),
        ("", True, None),
    ]
    assert [len(shown) for shown in model.pictures] == [2]
    assert usage.cost == PRICE


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("voice", media.recorded("Is it sold?")),
        ("audio", media.recorded("Is it sold?", "mp3", "libmp3lame")),
        ("document", media.speech("Is it sold?")),
    ],
    ids=["opus", "mp3", "a wav sent as a file"],
)
def test_speech_goes_out_as_opus_with_its_length(kind: str, content: bytes) -> None:
    model = Model()
    [part], _, _ = read((kind, content, "a"), model=model)
    assert part is not None
    assert (part.heard, part.kind) == ("is it sold", "voice" if kind == "voice" else "audio")
    [sound] = model.sounds
    assert sound.data[:4] == b"OggS"
    assert (sound.name, sound.mime) == ("sound.ogg", "audio/ogg")
    assert 0.3 < (sound.seconds or 0) < 5
    assert not model.pictures


def test_a_video_is_heard_and_seen_in_one_call_each() -> None:
    model = Model()
    [part], usage, _ = read(("video", media.video(), None), model=model, frames=3)
    assert part is not None
    assert (part.kind, part.heard, part.seen) == ("video", "is it sold", "A kettle, K-200.")
    assert ([len(shown) for shown in model.pictures], len(model.sounds)) == ([3], 1)
    assert "frames of one video" in model.prompts[0]
    assert (part.cost, usage.cost) == (2 * PRICE, 2 * PRICE)


def test_a_video_without_sound_is_seen_only_and_with_its_frames_off_heard_only() -> None:
    mute = Model()
    [part], _, _ = read(("video", media.video(None), None), model=mute)
    assert part is not None
    assert (part.heard, part.seen, mute.sounds) == ("", "A kettle, K-200.", [])
    blind = Model()
    read(("video", media.video(), None), model=blind, frames=0)
    assert (len(blind.sounds), blind.pictures) == (1, [])


def test_what_was_heard_is_not_lost_when_nobody_can_look() -> None:
    for fails in (ProviderUnavailable("busy"), BudgetSpent("spent"), NoModel("none")):
        [part], _, _ = read(("video", media.video(), None), model=Model(fails=fails))
        assert part is not None
        assert (part.heard, part.seen, part.problem) == ("is it sold", "", None)


def test_a_document_is_read_as_far_as_its_tokens_go_and_costs_nothing() -> None:
    pages = [["# Contract", *(f"Paragraph {n} says something of interest." for n in range(200))]]
    [part], usage, _ = read(("document", documents.docx(pages), "contract.docx"), model=Model(), document_tokens=100)
    assert part is not None
    assert part.read.startswith("Contract\nParagraph 0")
    assert part.read.endswith("[…]")
    assert 80 < len(part.read.split()) < 110
    assert (part.name, part.cost, usage.cost) == ("contract.docx", 0, 0)
    [plain], _, _ = read(("document", "Заказ № 5".encode("cp1251"), "a.exe"))
    assert plain is not None
    assert plain.read == "Заказ № 5"


def test_what_is_understood_is_not_read_again() -> None:
    model, done = Model(), Part(kind="photo", seen="known")
    parts, usage, kept = read(("photo", b"gone by now", None), model=model, known=[done])
    assert (parts, usage.cost, kept, model.pictures) == ([done], 0, 0, [])
    again, _, _ = read(("photo", media.picture(), None), model=model, known=[Part(kind="photo", problem="budget")])
    assert again[0] is not None
    assert again[0].seen == "A kettle, K-200."


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (("photo", b"", None), "broken"),
        (("photo", media.picture()[:3000], None), "broken"),
        (("photo", b"\x7fELF\x02\x01\x01\x00" + b"\0" * 60, "cat.jpg"), "type"),
        (("voice", media.recorded("hello")[:300], None), "broken"),
        (("voice", media.wav(np.zeros(0)), None), "silent"),
        (("voice", media.silence(1), None), "silent"),
        (("video", media.video()[:4000], None), "broken"),
        (("document", documents.locked_pdf(), "a.pdf"), "locked"),
        (("document", documents.bomb(), "a.docx"), "broken"),
        (("document", b"%PDF-1.7 nothing more", "a.pdf"), "broken"),
        (("document", b"PK\x03\x04" + b"\0" * 60, "a.docx"), "broken"),
        (("document", NEWER_ZIP, "a.docx"), "broken"),
        (("photo", b"\xff\xd8\xff\xe0<html><script>alert(1)</script></html>", "a.jpg"), "broken"),
        (("photo", b"GIF89a<script>alert(1)</script>", "a.gif"), "broken"),
        (("photo", b"OggS what a nice day", "a.ogg"), "broken"),
        (("photo", b'<?xml version="1.0"?>\n<!-- a --><svg xmlns="http://www.w3.org/2000/svg"/>', "a.svg"), "type"),
        (("document", rb"{\rtf1\ansi \'cf\'f0\'e8}", "a.rtf"), "type"),
        (("photo", b"%!PS-Adobe-3.0 EPSF-3.0\nshowpage", "a.eps"), "type"),
        (("photo", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 99, "IMG_1.HEIC"), "type"),
        (("photo", media.blank_png(10_000, 10_000), None), "broken"),
        (("photo", media.blank_png(30_000, 30_000), None), "broken"),
    ],
    ids=[
        "empty",
        "cut jpeg",
        "program",
        "cut voice",
        "no sample",
        "silence",
        "cut video",
        "locked",
        "bomb",
        "pdf",
        "zip",
        "zip of a version to come",
        "html as jpeg",
        "script as gif",
        "text as ogg",
        "svg",
        "rtf",
        "postscript",
        "heic",
        "100 megapixels",
        "900 megapixels",
    ],
)
def test_a_file_that_cannot_be_read_has_a_reason_and_costs_nothing(file: Any, expected: str) -> None:
    model = Model()
    assert problem(*file, model=model) == expected
    assert (model.pictures, model.sounds) == ([], [])


def test_limits_are_told_apart() -> None:
    long = media.wav(np.full(16_000 * 3, 5000))
    assert problem("voice", long, None, model=Model(), longest=2) == "too_long"
    assert problem("photo", media.picture(), None, model=Model(), kinds=("document",)) == "type"
    assert problem("photo", media.picture(), None) == "no_model"
    assert problem("voice", media.recorded("hello"), None) == "no_model"
    assert problem("photo", media.picture(), None, model=Model(fails=BudgetSpent("spent"))) == "budget"
    assert problem("photo", media.picture(), None, model=Model(fails=NoModel("none"))) == "no_model"
    assert problem("video", media.video(None), None, model=Model(fails=NoModel("none"))) == "no_model"
    assert problem("photo", media.picture() + b"\0" * 2**20, None, model=Model(), largest=1) == "too_large"
    assert problem("voice", media.recorded("hm"), None, model=Model(heard=" ")) == "silent"


def test_an_outage_is_worth_another_attempt_and_keeps_what_was_paid_for() -> None:
    kept: list[Asked] = []
    model = Model(fails=ProviderUnavailable("busy"))
    files = {"a": media.recorded("hello"), "b": media.video(None)}
    tools = Tools(MediaSettings(), model, lambda audio, language: model.transcribe(audio), "en")
    asked = [Asked(name, "video", [MediaRef(type="video", ref="r")]) for name in files]
    with pytest.raises(ProviderUnavailable):
        understand(asked, tools=tools, fetch=lambda m, n, into: _write(into, files[m.id]), keep=kept.append)
    assert [(message.id, message.parts[0].heard) for message in kept if message.parts[0]] == [("a", "is it sold")]


def _write(into: IO[bytes], content: bytes) -> None:
    into.write(content)


@pytest.mark.parametrize(
    ("make", "name", "content", "parser"),
    [
        (lambda: media.picture(form="PNG"), "a.mp3", "photo", ""),
        (lambda: media.picture(form="WEBP"), "a.txt", "photo", ""),
        (lambda: media.recorded("hm", "mp4", "aac"), "a.jpg", "recording", ""),
        (lambda: documents.pdf([[("hello", 12)]]), "a.jpg", "document", "pdf"),
        (lambda: media.picture(form="AVIF"), "a.avif", "photo", ""),
        (lambda: b"\xef\xbb\xbf\r\n" + documents.pdf([[("hello", 12)]]), None, "document", "pdf"),
        (lambda: b"<?xml version='1.0'?><order>5</order>", "a.xml", "document", "plain"),
        (lambda: b"<!doctype html><p>hi", None, "document", "html"),
        (lambda: b"# hi", "a.md", "document", "markdown"),
        (lambda: "привет ".encode() * 4000, "a.jpg", "document", "plain"),
        (lambda: "\ufeffпривет".encode("utf-16-le"), None, "document", "plain"),
        (lambda: b"BM is how some sentences begin", "a.bmp", "document", "plain"),
    ],
    ids=[
        "png",
        "webp",
        "m4a",
        "pdf",
        "avif",
        "pdf behind blanks",
        "xml",
        "html",
        "markdown",
        "long text",
        "utf-16",
        "BM",
    ],
)
def test_content_is_sniffed_and_names_are_not_trusted(
    tmp_path: Path, make: Callable[[], bytes], name: str | None, content: str, parser: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(make())
    assert sniff(path, name) == (content, parser)


def test_spreadsheets_and_archives_are_of_a_type_nobody_reads(tmp_path: Path) -> None:
    from openpyxl import Workbook

    Workbook().save(tmp_path / "a.xlsx")
    with pytest.raises(NotUnderstood) as refused:
        sniff(tmp_path / "a.xlsx", "a.docx")
    assert refused.value.problem == "type"


def test_a_film_without_a_word_is_listened_to_once_however_often_its_pictures_fail() -> None:
    model = Model(heard=" ", fails=ProviderUnavailable("busy"))
    tools = Tools(MediaSettings(), model, lambda audio, language: model.transcribe(audio), "en")
    film = Asked("m", "video", [MediaRef(type="video", ref="r")])

    def again() -> Usage:
        return understand(
            [film], tools=tools, fetch=lambda m, n, into: _write(into, media.video()), keep=lambda message: None
        )

    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            again()
    model.fails = BudgetSpent("spent")
    again()
    assert film.parts[0] is not None
    assert (film.parts[0].problem, film.parts[0].cost) == ("budget", PRICE)
    model.fails = None
    usage, part = again(), film.parts[0]
    assert part is not None
    assert (part.seen, part.problem, len(model.sounds)) == ("A kettle, K-200.", None, 1)
    assert (usage.cost, part.cost) == (PRICE, 2 * PRICE), "the step pays for the pictures, the message has both"
