"""The script in a browser: what it hears, and how it comes back after a loss."""

from __future__ import annotations

import os
import shutil

import pytest
from playwright.sync_api import expect, sync_playwright
from sqlmodel import col, select

from storage.models import Conversation, Message

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


#: What the page shows of the growing text, and what is added to the log, at every change.
WATCH = """() => {
  const root = document.querySelector("ragline-widget").shadowRoot;
  const [log, growing] = root.querySelector(".scroll").children;
  window.shown = []; window.told = [];
  new MutationObserver(() => window.shown.push(growing.querySelector(".bubble")?.textContent ?? ""))
    .observe(growing, { childList: true, subtree: true });
  new MutationObserver((changes) => changes.forEach(({ addedNodes }) => addedNodes.forEach((node) =>
    node.textContent && window.told.push(node.textContent)))).observe(log, { childList: true });
}"""
WORDS = [f"word{number} " for number in range(60)]
WHOLE = "".join(WORDS).strip()


@pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
def test_a_text_grows_in_its_place_and_is_read_aloud_once(page, workers, database):
    turn = workers.take(say(page, database, "How long?"), "generate")
    page.evaluate(WATCH)
    draft = workers.writes(turn)
    log, growing = page.get_by_role("log"), page.locator("[aria-live=off]")
    draft.write("It takes **two")
    expect(growing).to_contain_text("It takes", timeout=AT_ONCE)
    draft.write("It takes **two** days [")
    expect(growing.locator("strong")).to_have_text("two")
    expect(page.get_by_role("status").filter(has_text="Typing…")).to_have_class("sr")
    expect(log).not_to_contain_text("It takes")
    draft.write("It takes **two** days [1].")
    draft.finish()
    expect(growing).to_contain_text("It takes two days.")
    workers.send(turn, "It takes **two** days.")
    workers.close_turn(turn)
    expect(log).to_contain_text("It takes two days.", timeout=AT_ONCE)
    expect(growing).to_be_empty()
    shown, told = page.evaluate("[window.shown, window.told]")
    assert not any("[" in text or "*" in text for text in shown)
    assert [text.count("It takes two days.") for text in told] == [1]
    expect(page.get_by_text("Typing…")).to_have_count(0)


@pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
def test_a_text_goes_on_where_the_connection_broke_and_nothing_is_lost_or_doubled(page, workers, database):
    turn = workers.take(say(page, database, "How long?"), "generate")
    page.evaluate(WATCH)
    draft, growing = workers.writes(turn), page.locator("[aria-live=off]")
    asked = []
    page.on("request", lambda request: request.url.endswith("/events") and asked.append(request.headers))
    for number in range(1, len(WORDS) + 1):
        draft.write("".join(WORDS[:number]))
        page.wait_for_timeout(10)
        if number in (15, 40):
            expect(growing).to_contain_text(f"word{number - 2}", timeout=AT_ONCE)
            page.context.set_offline(True)
        if number in (25, 45):
            page.context.set_offline(False)
            expect(growing).to_contain_text(f"word{number - 2}", timeout=AT_ONCE)
    draft.finish()
    workers.send(turn, WHOLE)
    workers.close_turn(turn)
    log = page.get_by_role("log")
    expect(log).to_contain_text(WHOLE, timeout=AT_ONCE)
    expect(growing).to_be_empty()
    assert log.inner_text().count("word7 ") == 1
    shown = page.evaluate("window.shown")
    assert shown.pop() == ""
    assert all(WHOLE.startswith(text.strip()) for text in shown)
    assert [len(text) for text in shown] == sorted(len(text) for text in shown), "nothing was begun anew"
    places = [headers["last-event-id"] for headers in asked if turn.id in headers.get("last-event-id", "")]
    assert len(places) >= 2


@pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
def test_a_rejected_text_goes_and_a_person_who_takes_over_ends_it(page, workers, database):
    turn = workers.take(say(page, database, "How long?"), "generate")
    draft, growing = workers.writes(turn), page.locator("[aria-live=off]")
    draft.write("I am quite sure")
    expect(growing).to_contain_text("I am quite sure", timeout=AT_ONCE)
    draft.write("I am quite sure NO_ANSWER")
    expect(growing).to_be_empty(timeout=AT_ONCE)
    draft.write("")
    draft.write("Another model says")
    expect(growing).to_contain_text("Another model says", timeout=AT_ONCE)
    with database.write() as session:
        conversation = session.get_one(Conversation, turn.conversation_id)
        conversation.mode = "human"
        session.add(conversation)
    workers.wake(turn.conversation_id)
    expect(growing).to_be_empty(timeout=AT_ONCE)
    expect(page.get_by_text("Typing…")).to_have_count(0)
