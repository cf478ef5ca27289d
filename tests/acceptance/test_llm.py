"""Grounded answers through a provider on a real socket: what it was asked, what it cost, what its outages do, and how
they are shown while it writes them."""

import base64
import io
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from sqlmodel import col, select

from storage.models import Message, Outbox, RedFlag, StepRun
from tests.acceptance.stack import Stack, running
from tests.acceptance.topics import QUESTIONS, answer, write_base
from tests.support import faults, media
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_telegram import TOKEN, FakeTelegram

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
#: What the page speaks, and how wide it is; all four where screenshots are asked for.
PAGES = [("ru", 390), *([("ru", 1280), ("en", 390), ("en", 1280)] if os.environ.get("SCREENSHOTS") else [])]
OPEN = {"ru": "Открыть чат", "en": "Open chat"}
#: What a model writes about topic 3: the passage again and again, so that it is borne out; and what is left of it.
SAID = " ".join([f"{answer(3)} [1]"] * 10)
WHOLE = " ".join([answer(3)] * 10)


@pytest.fixture(scope="module")
def telegram() -> Iterator[FakeTelegram]:
    with FakeTelegram() as found:
        yield found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, telegram: FakeTelegram) -> Iterator[tuple[FakeOpenAI, Stack]]:
    folder: Path = tmp_path_factory.mktemp("llm")
    with (
        FakeOpenAI(chunk_delay=0.1) as provider,
        running(
            folder / "data",
            OPENAI_API_KEY=provider.api_key,
            OPENAI_API_BASE=provider.api_base,
            TELEGRAM_BOT_TOKEN=TOKEN,
            TELEGRAM_API_BASE=telegram.url,
            RAGLINE__ANSWER__MODES="[grounded]",
            RAGLINE__ANSWER__GROUNDED_THRESHOLD="0",
            RAGLINE__TURN__RETRY_BASE="0.1",
            RAGLINE__KNOWLEDGE__DEMO="off",
            RAGLINE__PRIVACY__MASKING="on",
        ) as stack,
    ):
        stack.ragline("kb", "import", str(write_base(folder / "topics.jsonl")))
        yield provider, stack


def ask(stack: Stack, conversation: str, text: str) -> dict[str, Any]:
    with stack.api(60) as api:
        found: dict[str, Any] = api.post(
            "/api/v1/messages?wait=40", json={"conversation": conversation, "text": text}
        ).json()
        return found


def runs(stack: Stack, message_id: str, step: str) -> list[StepRun]:
    with stack.sql() as session:
        turn_id = session.get_one(Message, message_id).turn_id
        query = select(StepRun).where(StepRun.turn_id == turn_id, StepRun.step == step)
        return list(session.exec(query.order_by(col(StepRun.attempt))))


def test_the_passages_are_asked_about_and_the_ledger_knows_it(world: tuple[FakeOpenAI, Stack]) -> None:
    provider, stack = world
    provider.enqueue("It is answer three [1].")
    before = provider.totals()
    replied = ask(stack, "g1", "How do I get a new password?")
    assert replied["status"] == "answered"
    assert replied["answer"]["mode"] == "grounded"
    assert replied["answer"]["text"] == "It is answer three."
    assert replied["answer"]["citations"][0]["id"] == "topic-03"
    prompt = str(provider.requests[-1].body)
    assert answer(3) in prompt
    assert "How do I get a new password?" in prompt
    [run] = runs(stack, replied["message_id"], "generate")
    spent = provider.totals()
    assert run.tokens_in == spent.prompt_tokens - before.prompt_tokens
    assert run.tokens_out == spent.completion_tokens - before.completion_tokens
    assert (run.template, run.template_version) == ("text_answer_template", "2+1.2+4")
    assert replied["usage"]["tokens_in"] == run.tokens_in
    assert Decimal(replied["usage"]["cost"]) == run.cost
    assert run.cost


def test_earlier_lines_of_the_conversation_are_in_the_prompt(world: tuple[FakeOpenAI, Stack]) -> None:
    provider, stack = world
    provider.enqueue("Answer number thirteen, remembered [1].")
    ask(stack, "g2", "How heavy is the lawn mower?")
    ask(stack, "g2", "And the cookbook?")
    prompt = str(provider.requests[-1].body)
    assert "How heavy is the lawn mower?" in prompt
    assert "Answer number thirteen, remembered." in prompt
    ask(stack, "g3", "Another customer")
    assert "lawn mower?\\ncustomer" not in str(provider.requests[-1].body)
    assert "Answer number thirteen, remembered." not in str(provider.requests[-1].body)


def test_an_answer_that_rests_on_nothing_is_not_sent_and_a_draft_helps(world: tuple[FakeOpenAI, Stack]) -> None:
    provider, stack = world
    before = provider.totals()
    provider.enqueue("Buy it at https://evil.example for 5 dollars [1].", match="vegan chocolate", times=2)
    replied = ask(stack, "g6", "Do you sell vegan chocolate?")
    assert replied["answer"]["mode"] == "unknown"
    assert "evil" not in replied["answer"]["text"]
    assert "This answer was not sent" in str(provider.requests[-1].body)
    spent = provider.totals()
    assert replied["usage"]["tokens_in"] == spent.prompt_tokens - before.prompt_tokens, "both attempts"
    [flag] = [row for row in stack.ragline("flags") if row["question"] == "Do you sell vegan chocolate?"]
    assert flag["cause"] == "unsupported"
    provider.enqueue("Answer number 08 [1]. [?] whether it is in stock")
    drafted = stack.ragline("flags", "draft", flag["id"])
    assert (drafted["draft"], drafted["doubt"]) == ("Answer number 08. [?] whether it is in stock", "")
    assert drafted["citations"][0]["id"] == "topic-08"
    assert stack.ragline("flags")[-1]["id"] == flag["id"], "a draft answers nobody"


def test_an_outage_that_ends_is_survived(world: tuple[FakeOpenAI, Stack]) -> None:
    provider, stack = world
    provider.faults.add(faults.status(500), "chat", times=2)
    replied = ask(stack, "g4", "Do you repair broken kettles?")
    assert (replied["status"], replied["answer"]["mode"]) == ("answered", "grounded")
    assert [run.outcome for run in runs(stack, replied["message_id"], "generate")] == ["retry", "retry", "ok"]


def test_a_refused_key_gives_one_notice_a_flag_and_a_reason(world: tuple[FakeOpenAI, Stack]) -> None:
    provider, stack = world
    provider.faults.add(faults.status(401), "chat", times=None)
    try:
        replied = ask(stack, "g5", "Is the shop open on Sunday?")
    finally:
        provider.faults.clear()
    assert (replied["status"], replied["step"]) == ("failed", "generate")
    [run] = runs(stack, replied["message_id"], "generate")
    assert (run.outcome, run.error_class) == ("failed", "ProviderRefused")
    assert "OPENAI_API_KEY" in (run.error or "")
    with stack.sql() as session:
        notices = session.exec(select(Outbox).where(Outbox.turn_id == run.turn_id)).all()
        flags = session.exec(select(RedFlag.cause).where(RedFlag.turn_id == run.turn_id)).all()
    assert [(row.kind, row.status) for row in notices] == [("notice", "sent")]
    assert list(flags) == ["step_failed"]
    [listed] = [row for row in stack.ragline("messages", "--failed") if row["id"] == replied["message_id"]]
    assert (listed["step"], listed["status"]) == ("generate", "failed")
    assert provider.api_key not in stack.output()


def test_personal_data_reaches_neither_the_provider_nor_a_log_nor_flower(world: tuple[FakeOpenAI, Stack]) -> None:
    provider, stack = world
    provider.enqueue("It is answer three, for INN [INN_1] and order 450012345678 [1].")
    said = "+7 (916) 123-45-67, anna.k@mail.ru, INN 500100732259, order 450012345678. How do I get a new password?"
    replied = ask(stack, "g8", said)
    assert replied["answer"]["text"] == "It is answer three, for INN 500100732259 and order 450012345678."
    prompt = str(provider.requests[-1].body)
    assert "[PHONE_1], [EMAIL_1], INN [INN_1], order 450012345678." in prompt
    flower = httpx.get(
        f"http://127.0.0.1:{stack.about['flower_port']}/api/tasks",
        auth=("admin", stack.secret("RAGLINE_FLOWER_PASSWORD")),
        trust_env=False,
    )
    assert "ragline.generate" in flower.text
    logs = "".join(path.read_text(errors="replace") for path in (stack.data / "logs").iterdir())
    for where in (prompt, flower.text, logs, stack.output()):
        for value in ("123-45-67", "anna.k", "500100732259"):
            assert value not in where


def test_the_api_tells_the_text_as_it_grows_and_the_stored_answer(world: tuple[FakeOpenAI, Stack]) -> None:
    provider, stack = world
    provider.enqueue(SAID, match="(s1)")
    provider.enqueue(SAID, match="(s2)")
    with stack.api() as api:
        body = {"conversation": "s1", "text": f"{QUESTIONS[3]} (s1)"}
        message_id = api.post("/api/v1/messages?stream=true", json=body).json()["message_id"]
        text, kinds, final = "", [], {}
        with api.stream("GET", f"/api/v1/messages/{message_id}/events") as response:
            for line in response.iter_lines():
                if line.startswith("event: "):
                    kinds.append(line.removeprefix("event: "))
                elif line.startswith("data: "):
                    final = json.loads(line.removeprefix("data: "))
                    if kinds[-1] == "delta":
                        text = text[: final["offset"]] + final["text"]
                        assert "[" not in text
        assert final["answer"]["text"] == WHOLE
        assert final == api.get(f"/api/v1/messages/{message_id}").json()
    assert text == WHOLE
    assert kinds.count("delta") > 10
    assert kinds[-1] == "final"
    assert provider.requests[-1].body["stream"]
    with stack.api() as api:  # nobody watches
        api.post("/api/v1/messages?wait=20", json={"conversation": "s2", "text": f"{QUESTIONS[3]} (s2)"})
    assert not provider.requests[-1].body.get("stream")


@pytest.mark.browser
@pytest.mark.parametrize(("language", "width"), PAGES)
def test_the_widget_shows_the_text_as_it_grows_and_goes_on_after_a_loss(
    world: tuple[FakeOpenAI, Stack], language: str, width: int
) -> None:
    if not CHROMIUM:
        pytest.fail("no Chromium: install it (Debian: apt-get install chromium) or set CHROMIUM to its path")
    provider, stack = world
    provider.enqueue(SAID, match=(name := f"({language}{width})"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_context(viewport={"width": width, "height": 844}).new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{stack.url}/?lang={language}")
        with page.expect_response("**/events"):
            page.get_by_role("button", name=OPEN[language]).click()
        page.get_by_role("textbox").fill(f"{QUESTIONS[3]} {name}")
        page.get_by_role("textbox").press("Enter")
        growing, log = page.locator("[aria-live=off]"), page.get_by_role("log")
        expect(growing.locator(".bubble")).to_have_text(beginning(12), timeout=15_000)
        _screenshot(page, f"streaming-{language}-{width}-growing.png")
        page.context.set_offline(True)
        page.context.set_offline(False)
        expect(growing.locator(".bubble")).to_have_text(beginning(25), timeout=10_000)
        expect(log).to_contain_text(WHOLE, timeout=15_000)
        expect(growing).to_be_empty()
        assert log.inner_text().count(WHOLE) == 1
        _screenshot(page, f"streaming-{language}-{width}-whole.png")
        assert problems == []
        browser.close()


@pytest.mark.browser
def test_a_picture_attached_in_the_widget_is_seen_by_a_model_and_answered_on_the_page(
    world: tuple[FakeOpenAI, Stack],
) -> None:
    if not CHROMIUM:
        pytest.fail("no Chromium: install it (Debian: apt-get install chromium) or set CHROMIUM to its path")
    provider, stack = world
    provider.enqueue("A sign with the words SIGN-31.", match="A customer sent this picture")
    provider.enqueue(f"{answer(3)} [1]", match="SIGN-31")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page()
        page.goto(f"{stack.url}/?lang=en")
        page.get_by_role("button", name=OPEN["en"]).click()
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Attach files").click()
        chooser.value.set_files(
            {"name": "sign.png", "mimeType": "image/png", "buffer": media.picture("SIGN-31", "PNG")}
        )
        page.get_by_role("textbox").fill(QUESTIONS[3])
        page.get_by_role("textbox").press("Enter")
        expect(page.get_by_role("log")).to_contain_text(answer(3), timeout=15_000)
        browser.close()
    seen, asked = [one for one in provider.requests if "SIGN-31" in str(one.body) or "image_url" in str(one.body)]
    [picture] = [part for part in seen.body["messages"][-1]["content"] if part["type"] == "image_url"]
    sent = base64.b64decode(picture["image_url"]["url"].partition(",")[2])
    assert Image.open(io.BytesIO(sent)).size == (640, 360)
    assert QUESTIONS[3] in str(asked.body)


def test_telegram_shows_drafts_and_sends_one_message(world: tuple[FakeOpenAI, Stack], telegram: FakeTelegram) -> None:
    provider, _ = world
    provider.enqueue(SAID, match="(t1)")
    telegram.user_says(42, f"{QUESTIONS[3]} (t1)")
    [sent] = telegram.wait_sent(1, 30, chat_id=42)
    drafts = [shown for shown in telegram.chat_actions if shown.action == "draft"]
    assert sent.text == WHOLE
    assert len(drafts) >= 2
    assert all(WHOLE.startswith(shown.text) and shown.at < sent.at for shown in drafts)
    time.sleep(1.5)
    assert len(telegram.sent) == 1
    assert len([shown for shown in telegram.chat_actions if shown.action == "draft"]) == len(drafts)


def beginning(words: int) -> re.Pattern[str]:
    """Texts that begin the answer and have so many words or more."""
    return re.compile("^" + r"\s+".join(map(re.escape, WHOLE.split()[:words])))


def _screenshot(page: Page, name: str) -> None:
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / name))
