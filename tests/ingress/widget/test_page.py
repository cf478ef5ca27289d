"""The script in a browser: what it hears, and how it comes back after a loss."""

from __future__ import annotations

import os
import shutil

import pytest
from playwright.sync_api import expect, sync_playwright
from sqlmodel import col, select

from storage.models import Message

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
#: Milliseconds: less than the 5 s after which the page asks for what the stream did not bring.
AT_ONCE = 3000
pytestmark = pytest.mark.browser


@pytest.fixture
def page(served):
    """The demo page with its chat open and the stream running."""
    if not CHROMIUM:
        pytest.fail("no Chromium: install it (Debian: apt-get install chromium) or set CHROMIUM to its path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page()
        page.goto(f"{served().url}/?lang=en")
        with page.expect_response("**/events"):
            page.get_by_role("button", name="Open chat").click()
        yield page
        browser.close()


def say(page, database, text):
    """Send ``text`` from the page; the id under which the server took it."""
    page.get_by_role("textbox").fill(text)
    with page.expect_response(lambda response: response.request.method == "POST"):
        page.get_by_role("textbox").press("Enter")
    with database.read() as session:
        return session.exec(select(Message.id).order_by(col(Message.seq).desc())).first()


def test_answers_come_over_the_stream_and_the_token_stays_out_of_addresses(page, workers, database):
    requests = []
    page.on("request", lambda request: requests.append(request))  # a builtin is no handler to Playwright
    # U+2028 ends a line for some readers, not for this format
    workers.answer(say(page, database, "How long?"), "Two days.\u2028Or three.")
    expect(page.get_by_role("log")).to_contain_text("Or three.", timeout=AT_ONCE)
    assert [request.method for request in requests] == ["POST"]
    page.reload()
    with page.expect_request("**/events") as opened:
        page.get_by_role("button", name="Open chat").click()
    expect(page.get_by_role("log")).to_contain_text("Two days.")
    token = opened.value.headers["authorization"].removeprefix("Bearer ")
    assert len(token) == 43
    assert not any(token in request.url for request in requests)


def test_a_page_that_lost_the_server_goes_on_after_the_last_message(page, workers, database):
    workers.answer(say(page, database, "One"), "Answer one")
    log = page.get_by_role("log")
    expect(log).to_contain_text("Answer one", timeout=AT_ONCE)
    asked = say(page, database, "Two")
    expect(page.get_by_text("Typing…")).to_be_visible(timeout=AT_ONCE)
    page.context.set_offline(True)
    expect(page.get_by_text("Connection lost. Reconnecting…")).to_be_visible()
    workers.answer(asked, "Answer two")
    with page.expect_request("**/events") as opened:
        page.context.set_offline(False)
    assert int(opened.value.headers["last-event-id"]) >= 3
    expect(log).to_contain_text("Answer two")
    workers.answer(say(page, database, "Three"), "Answer three")
    expect(log).to_contain_text("Answer three", timeout=AT_ONCE)
    assert [log.inner_text().count(f"Answer {number}") for number in ("one", "two", "three")] == [1, 1, 1]


def test_options_are_buttons_of_the_log_that_take_one_press(page, workers, database):
    page.set_viewport_size({"width": 390, "height": 700})
    options = [{"title": "Delivery cost?", "data": "c:turn:1"}, {"title": "None of these", "data": "c:turn:none"}]
    workers.answer(say(page, database, "Delivery?"), "Which of these?", mode="clarify", buttons=options)
    log = page.get_by_role("log")
    cost, none = (log.get_by_role("button", name=option["title"]) for option in options)
    expect(cost).to_be_enabled(timeout=AT_ONCE)
    assert cost.bounding_box()["height"] >= 44
    page.get_by_role("group", name="Messages").focus()
    page.keyboard.press("Tab")
    expect(cost).to_be_focused()
    page.keyboard.press("Tab")
    expect(none).to_be_focused()
    page.keyboard.press("Shift+Tab")
    with page.expect_response(lambda response: response.request.method == "POST") as posted:
        page.keyboard.press("Enter")
    body = posted.value.request.post_data_json
    assert (body["text"], body["choice"]) == ("Delivery cost?", "c:turn:1")
    expect(cost).to_be_disabled()
    expect(none).to_be_disabled()
    expect(page.get_by_role("group", name="Messages")).to_be_focused()
    with database.read() as session:
        pressed = session.exec(select(Message).order_by(col(Message.seq).desc())).first()
    assert (pressed.kind, pressed.text, pressed.envelope["data"]) == ("callback", "Delivery cost?", "c:turn:1")
    page.reload()
    page.get_by_role("button", name="Open chat").click()
    expect(cost).to_be_disabled()
