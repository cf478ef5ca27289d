"""Files of a visitor: uploaded before their message, refused where they do not fit, and nobody else's."""

from __future__ import annotations

import asyncio

import pytest

from ingress.app import create_app
from ingress.channels.widget import routes
from ingress.channels.widget.sessions import Limits
from ragline.settings import load_settings
from storage.media import kept_key
from storage.models import Message
from tests.support import media

PAGE = "https://shop.example"
KINDS = "фотографии, аудио, видео, PDF, DOCX, текст"
FILES, MESSAGES = "/widget/default/files", "/widget/default/messages"
pytestmark = pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)


@pytest.fixture
def talk(database_url, redis_url, opened, tmp_path):
    """``talk(scenario, config)``: run ``scenario(client)``, whose client has a visitor's session."""
    config = tmp_path / "ragline.yaml"

    def run(scenario, text=f"channels: {{widget: {{default: {{origins: ['{PAGE}']}}}}}}"):
        config.write_text(f"data: {tmp_path}\n{text}\n", encoding="utf-8")
        settings = load_settings(
            {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "RAGLINE__MEDIA__LARGEST": "1"}, config
        )

        async def inside():
            async with opened(create_app(settings)) as client:
                client.headers["Authorization"] = f"Bearer {await token(client)}"
                return await scenario(client)

        return asyncio.run(inside())

    return run


async def token(client):
    return (await client.post("/widget/default/session", json={})).json()["token"]


async def upload(client, content=None, **more):
    return await client.post(FILES, content=media.picture() if content is None else content, **more)


def message(file, id_="m1", name="kettle.jpg"):
    return {"id": id_, "media": [{"file": file, "type": "photo", "name": name}]}


def test_a_file_goes_with_its_message_once_and_is_kept_for_its_reader(talk, database, tmp_path):
    async def scenario(client):
        opened = (await client.post("/widget/default/session", json={})).json()["files"]
        file = (await upload(client)).json()["file"]
        posted = [await client.post(MESSAGES, json=message(file)) for _ in range(2)]
        both = await client.post(MESSAGES, json={**message(file, "m2"), "text": "Is it sold?"})
        return opened, posted, both, (await client.get(MESSAGES)).json()["messages"]

    opened, (new, again), both, shown = talk(scenario)
    assert (opened["largest"], opened["most"]) == (2**20, 10)
    assert "image/jpeg" in opened["accept"].split(",")
    assert (new.status_code, again.status_code, both.status_code) == (202, 202, 202)
    assert again.json() == {**new.json(), "duplicate": True}
    size = len(media.picture())
    assert [(line["text"], line["files"]) for line in shown] == [
        (text, [{"type": "photo", "name": "kettle.jpg", "size": size}]) for text in ("", "Is it sold?")
    ]
    with database.read() as session:
        stored = session.get_one(Message, new.json()["message_id"])
    (ref,) = stored.envelope["media"]
    assert (stored.kind, ref["size"]) == ("photo", size)
    (path,) = [found for found in (tmp_path / "media").rglob("*") if found.is_file()]
    assert path.read_bytes() == media.picture()
    assert str(path).endswith(kept_key(ref["ref"]))


def test_nobody_else_can_name_a_file_and_one_that_is_gone_is_said_so(talk, tmp_path):
    async def scenario(client):
        file = (await upload(client)).json()["file"]
        other = {"Authorization": f"Bearer {await token(client)}", "Accept-Language": "ru"}
        stolen = await client.post(MESSAGES, json=message(file), headers=other)
        named = [await client.post(MESSAGES, json=message(one)) for one in ("2026-11-28.../etc/passwd", "x" * 33)]
        for found in (tmp_path / "media").rglob("*"):
            if found.is_file():
                found.unlink()
        return stolen, named, await client.post(MESSAGES, json=message(file))

    stolen, named, gone = talk(scenario)
    assert (stolen.status_code, stolen.json()["detail"]) == (422, "Файл больше не хранится. Прикрепите его ещё раз.")
    assert [response.status_code for response in named] == [422, 422]
    assert gone.status_code == 422


@pytest.mark.parametrize(
    ("content", "status", "detail"),
    [
        (b"x" * (2**20 + 1), 413, "Файл слишком большой: не больше 1 МБ."),
        (b"\x7fELF" + bytes(60), 415, f"Такие файлы здесь не читают. Подойдут: {KINDS}."),
        (b"", 422, "Файл пустой или повреждён."),
    ],
    ids=["large", "type", "empty"],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused_in_the_visitors_language_and_not_kept(
    talk, tmp_path, content, status, detail
):
    async def scenario(client):
        async def pieces():  # without a length that could be looked at
            yield content

        named = {"Content-Type": "image/jpeg"}  # which nobody believes
        whole = await upload(client, content, params={"locale": "ru"}, headers=named)
        return whole, await upload(client, pieces(), headers={**named, "Accept-Language": "ru"})

    for response in talk(scenario):
        assert (response.status_code, response.json()["detail"]) == (status, detail)
    assert not [found for found in (tmp_path / "media").rglob("*") if found.is_file()]


def test_who_has_no_session_or_a_foreign_page_uploads_nothing_and_is_not_read(talk):
    async def body():
        raise AssertionError("the body was read")
        yield b""

    async def scenario(client):
        ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
        return {
            "preflight": await client.options(FILES, headers={"Origin": PAGE, **ask}),
            "own page": await upload(client, headers={"Origin": PAGE}),
            "foreign page": await client.post(FILES, content=body(), headers={"Origin": "https://evil.example"}),
            "no session": await client.post(FILES, content=body(), headers={"Authorization": "Bearer x"}),
            "declared": await client.post(FILES, content=body(), headers={"Content-Length": str(2**20 + 1)}),
        }

    got = talk(scenario)
    assert {name: response.status_code for name, response in got.items()} == {
        "preflight": 204, "own page": 201, "foreign page": 403, "no session": 401, "declared": 413,
    }  # fmt: skip
    assert got["own page"].headers["Access-Control-Allow-Origin"] == PAGE
    assert got["preflight"].headers["Access-Control-Allow-Origin"] == PAGE
    assert "Content-Type" in got["preflight"].headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize("limits", [{"files_per_session": 2}, {"files_per_address": 2}, {"megabytes_per_address": 2}])
def test_uploads_are_counted(talk, monkeypatch, limits):
    monkeypatch.setattr(routes, "Limits", lambda: Limits(**limits))
    content = media.picture() + bytes(2**20 - len(media.picture()))

    async def scenario(client):
        return [await upload(client, content) for _ in range(3)]

    responses = talk(scenario)
    assert [response.status_code for response in responses] == [201, 201, 429]
    assert int(responses[-1].headers["Retry-After"]) >= 1


def test_a_slow_upload_ends(talk, monkeypatch):
    monkeypatch.setattr(routes, "Limits", lambda: Limits(upload_seconds=0.05, uploads=1))

    async def scenario(client):
        async def slow():
            yield b"x"
            await asyncio.sleep(5)

        return await upload(client, slow()), await upload(client)

    slow, next_ = talk(scenario)
    assert (slow.status_code, next_.status_code) == (408, 201)


@pytest.mark.parametrize(
    "config", ["media: {kinds: []}", "channels: {widget: {default: {files: off}}}"], ids=["all", "one site"]
)
def test_where_files_are_switched_off_none_is_offered_or_taken(talk, config):
    async def scenario(client):
        return (await client.post("/widget/default/session", json={})).json(), await upload(client)

    session, refused = talk(scenario, config)
    assert "files" not in session
    assert refused.status_code == 403


def test_what_is_not_read_is_not_taken(talk):
    async def scenario(client):
        offered = (await client.post("/widget/default/session", json={})).json()["files"]["accept"]
        return offered, await upload(client), await upload(client, b"Order 77 is late.")

    offered, picture, text = talk(scenario, "media: {kinds: [photo]}")
    assert ".pdf" not in offered
    assert (picture.status_code, text.status_code) == (201, 415)
    assert text.json()["detail"] == "Files of this kind are not read here. These are: pictures."
