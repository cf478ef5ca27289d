"""Files in a browser: chosen, pasted and dropped; refused, removed, retried; and found again after a reload."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from sqlmodel import col, select

from storage.media import kept_key
from storage.models import Message
from tests.ingress.widget.test_page import AT_ONCE, CHROMIUM
from tests.support import media

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True),
]
WORDS = {
    "en": ("Open chat", "Attach files", "Send", "Attached files"),
    "ru": ("Открыть чат", "Прикрепить файлы", "Отправить", "Прикреплённые файлы"),
}
REFUSED = {
    "en": (
        "large.txt: The file is too large. The limit is 1 MB.",
        "strange.jpg: Files of this kind are not read here.",
    ),
    "ru": ("large.txt: Файл слишком большой. Не больше 1 МБ.", "strange.jpg: Такие файлы здесь не читают."),
}
KETTLE = {"name": "kettle.jpg", "mimeType": "image/jpeg", "buffer": media.picture()}
TEXT = {"name": "order.txt", "mimeType": "text/plain", "buffer": b"Order 77 is late."}
STRANGE = {**KETTLE, "name": "strange.jpg", "buffer": b"\x7fELF" + bytes(60)}
#: How wide the page is, and its colours; all four where screenshots are asked for.
LOOKS = [(390, "dark"), *([(390, "light"), (1280, "dark"), (1280, "light")] if os.environ.get("SCREENSHOTS") else [])]
#: Puts files into the panel as a mouse or the clipboard would.
HAND = """([kind, files]) => {
  const data = new DataTransfer();
  for (const [name, type, content] of files) {
    data.items.add(new File([Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0))], name, { type }));
  }
  const panel = document.querySelector("ragline-widget").shadowRoot.querySelector(".panel");
  const target = kind === "paste" ? panel.querySelector("textarea") : panel.querySelector(".log");
  const about = { bubbles: true, cancelable: true, composed: true };
  for (const name of kind === "paste" ? ["paste"] : ["dragover", "drop"]) {
    target.dispatchEvent(name === "paste" ? new ClipboardEvent(name, { ...about, clipboardData: data })
      : new DragEvent(name, { ...about, dataTransfer: data }));
  }
}"""


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.fail("no Chromium: install it (Debian: apt-get install chromium) or set CHROMIUM to its path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, served, tmp_path):
    """``visit("ru")``: the demo page with its chat open; no script of it may fail."""
    contexts, problems = [], []
    server = served(RAGLINE_DATA=str(tmp_path), RAGLINE__MEDIA__LARGEST="1")

    def opened(locale="en", **look) -> Page:
        contexts.append(browser.new_context(**look))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{server.url}/?lang={locale}")
        page.get_by_role("button", name=WORDS[locale][0]).click()
        expect(page.get_by_role("button", name=WORDS[locale][1])).to_be_visible()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def choose(page, *files, locale="en"):
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=WORDS[locale][1]).press("Enter")
    chooser.value.set_files(list(files))


def hand(page, kind, *files):
    handed = [[one["name"], one["mimeType"], base64.b64encode(one["buffer"]).decode()] for one in files]
    page.evaluate(HAND, [kind, handed])


def press(page, name):
    page.get_by_role("button", name=name, exact=True).press("Enter")


def stored(database):
    with database.read() as session:
        return list(session.exec(select(Message).order_by(col(Message.seq))).all())


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_files_chosen_pasted_and_dropped_go_with_one_message_and_are_there_after_a_reload(
    visit, workers, database, tmp_path, width, scheme
):
    page = visit(viewport={"width": width, "height": 844}, color_scheme=scheme)
    choose(page, KETTLE)
    log, tray = page.get_by_role("log"), page.get_by_role("list", name="Attached files")
    expect(tray.get_by_role("img", name="kettle.jpg")).to_be_visible()
    hand(page, "paste", {**KETTLE, "name": "pasted.png"})
    hand(page, "drop", TEXT, {**TEXT, "name": "other.txt"})
    expect(tray.get_by_role("listitem")).to_have_count(4)
    page.get_by_role("button", name="Remove: other.txt").press("Enter")
    expect(page.get_by_role("button", name="Remove: order.txt")).to_be_focused()
    page.get_by_role("textbox").fill("Is it sold?")
    _screenshot(page, f"files-{width}-{scheme}-waiting.png")
    with page.expect_response("**/messages") as posted:
        page.get_by_role("textbox").press("Enter")
    assert posted.value.status == 202
    expect(log.get_by_role("img", name="kettle.jpg")).to_be_visible()
    expect(log).to_contain_text("Is it sold?")
    expect(tray).to_be_hidden()
    (message,) = stored(database)
    refs = message.envelope["media"]
    assert [(ref["type"], ref["name"]) for ref in refs] == [
        ("photo", "kettle.jpg"), ("photo", "pasted.png"), ("document", "order.txt"),
    ]  # fmt: skip
    assert (message.kind, message.text) == ("photo", "Is it sold?")
    kept = [(tmp_path / "media" / kept_key(ref["ref"])).read_bytes() for ref in refs]
    assert kept == [KETTLE["buffer"], KETTLE["buffer"], TEXT["buffer"]]
    workers.answer(message.id, "It is.")
    expect(log).to_contain_text("It is.", timeout=AT_ONCE)
    _screenshot(page, f"files-{width}-{scheme}-sent.png")
    page.reload()
    page.get_by_role("button", name="Open chat").click()
    for shown in ("kettle.jpg", "pasted.png", "order.txt", "1 kB", "Is it sold?"):
        expect(log).to_contain_text(shown)


@pytest.mark.parametrize("locale", ["ru", "en"])
def test_what_does_not_fit_is_named_in_the_visitors_language_and_the_rest_goes(visit, database, locale):
    page = visit(locale, viewport={"width": 390, "height": 700})
    large = {**TEXT, "name": "large.txt", "buffer": b"x" * (2**20 + 1)}
    choose(page, large, STRANGE, KETTLE, locale=locale)
    alert = page.get_by_role("alert")
    for refusal in REFUSED[locale]:
        expect(alert).to_contain_text(refusal)
    expect(page.get_by_role("list", name=WORDS[locale][3]).get_by_role("listitem")).to_have_count(1)
    button = page.get_by_role("button", name=WORDS[locale][1])
    assert min(button.bounding_box()[side] for side in ("width", "height")) >= 44
    with page.expect_response("**/messages"):
        press(page, WORDS[locale][2])
    expect(alert).to_be_hidden()
    (message,) = stored(database)
    assert [ref["name"] for ref in message.envelope["media"]] == ["kettle.jpg"]
    expect(page.get_by_role("log").get_by_role("img", name="kettle.jpg")).to_be_visible()


def test_a_file_refused_when_the_message_has_left_holds_up_nothing(visit, database):
    page = visit()
    held = []
    page.route("**/files?*", lambda route: route.continue_() if held else held.append(route))
    with page.expect_request("**/files?*"):
        choose(page, STRANGE, KETTLE)
    page.get_by_role("textbox").press("Enter")
    expect(page.get_by_text("Sending…")).to_be_visible()
    with page.expect_response("**/messages"):
        held[0].continue_()
    expect(page.get_by_role("alert")).to_contain_text("strange.jpg: ")
    (message,) = stored(database)
    assert [ref["name"] for ref in message.envelope["media"]] == ["kettle.jpg"]
    expect(page.get_by_role("log")).not_to_contain_text("strange.jpg")


def test_an_upload_that_fails_and_a_receipt_that_is_lost_are_tried_again_and_arrive_once(visit, database):
    page = visit()
    uploads = iter(["failed", "503"])

    def cut(route):
        match next(uploads, "through"):
            case "failed":
                route.abort()
            case "503":
                route.fulfill(status=503, headers={"Retry-After": "60"}, json={"detail": "busy"})
            case _:
                route.continue_()

    receipts = iter([True])

    def lose(route):
        if route.request.method == "POST" and next(receipts, False):
            assert route.fetch().status == 202
            route.abort()
        else:
            route.continue_()

    page.route("**/files?*", cut)
    page.route("**/messages", lose)
    choose(page, KETTLE)
    page.wait_for_event("requestfailed")
    press(page, "Send")
    log = page.get_by_role("log")
    with page.expect_request("**/messages"):
        log.get_by_role("button", name="Retry").press("Enter")
    expect(log.get_by_role("button", name="Retry")).to_have_count(0)
    expect(log.locator("time")).to_have_count(1)
    (message,) = stored(database)
    assert len(message.envelope["media"]) == 1
    expect(log.get_by_role("img", name="kettle.jpg")).to_have_count(1)


def _screenshot(page, name):
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / name)
