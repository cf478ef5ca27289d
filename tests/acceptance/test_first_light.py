"""One command, nothing configured: the demo base answers over the API, in the browser and on the command line."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.acceptance.stack import Stack, running

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ASK = {"ru": "Сколько времени занимает доставка?", "en": "How long does delivery take?"}
WORDS = {"ru": ("Открыть чат", "3–7 дней"), "en": ("Open chat", "3–7 days")}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("first") / "data") as stack:
        yield stack


@pytest.mark.parametrize("language", ["ru", "en"])
def test_the_api_answers_from_the_demo_base(stack: Stack, language: str) -> None:
    body = {"conversation": f"first-{language}", "text": ASK[language], "id": "m1"}
    with stack.api() as api:
        first = api.post("/api/v1/messages?wait=10", json=body)
        assert first.status_code == 200, first.text
        found = first.json()
        assert (found["status"], found["answer"]["mode"]) == ("answered", "direct")
        assert WORDS[language][1] in found["answer"]["text"].lower()
        assert found["answer"]["citations"][0]["id"].startswith(f"demo-{language}-")
        again = api.post("/api/v1/messages", json=body).json()
        assert (again["message_id"], again["duplicate"]) == (found["message_id"], True)
        assert api.post("/api/v1/messages", json={**body, "text": "other"}).status_code == 409
        assert api.get(f"/api/v1/messages/{found['message_id']}").json()["answer"] == found["answer"]


@pytest.mark.parametrize("text", ["Какая столица Австралии?", "Who won the football game yesterday?", "ывапролд"])
def test_what_the_base_does_not_hold_is_said_so_and_flagged(stack: Stack, text: str) -> None:
    with stack.api() as api:
        found = api.post("/api/v1/messages?wait=10", json={"conversation": "miss", "text": text}).json()
    assert found["answer"]["mode"] == "unknown"
    assert text in [flag["question"] for flag in stack.ragline("flags")]


def test_a_wrong_key_stores_nothing(stack: Stack) -> None:
    before = len(stack.ragline("messages", "--limit", "0"))
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        reply = httpx.post(
            f"{stack.url}/api/v1/messages", json={"conversation": "x", "text": "y"}, headers=headers, trust_env=False
        )
        assert reply.status_code == 401
    assert len(stack.ragline("messages", "--limit", "0")) == before


def test_flower_shows_the_four_tasks_to_who_knows_its_password(stack: Stack) -> None:
    with stack.api() as api:
        asked = {"conversation": "flower", "text": ASK["en"]}
        message_id = api.post("/api/v1/messages?wait=10", json=asked).json()["message_id"]
    flower = f"http://127.0.0.1:{stack.about['flower_port']}"
    assert httpx.get(f"{flower}/tasks", trust_env=False).status_code == 401
    login, turn = ("admin", stack.secret("RAGLINE_FLOWER_PASSWORD")), stack.turn_of(message_id)
    found: set[str] = set()
    until = time.monotonic() + 20  # events travel by themselves
    while len(found) < 4 and time.monotonic() < until:
        tasks = httpx.get(f"{flower}/api/tasks", auth=login, trust_env=False).json().values()
        found = {task["name"] for task in tasks if task["state"] == "SUCCESS" and turn in task["args"]}
        time.sleep(0.2)
    assert found == {f"ragline.{step}" for step in ("classify", "retrieve", "generate", "deliver")}


@pytest.mark.browser
@pytest.mark.parametrize("language", ["ru", "en"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_demo_page_answers_in_the_browser(stack: Stack, language: str, width: int) -> None:
    if not CHROMIUM:
        pytest.fail("no Chromium: install it (Debian: apt-get install chromium) or set CHROMIUM to its path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_context(viewport={"width": width, "height": 844}).new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{stack.url}/?lang={language}")
        page.get_by_role("button", name=WORDS[language][0]).click()
        box = page.get_by_role("textbox")
        expect(box).to_be_focused()
        box.fill(ASK[language])
        box.press("Enter")
        log = page.get_by_role("log")
        expect(log).to_contain_text(WORDS[language][1], timeout=10_000)
        _screenshot(page, f"widget-{language}-{width}.png")
        answered = log.inner_text()
        page.reload()
        page.get_by_role("button", name=WORDS[language][0]).click()
        expect(page.get_by_role("log")).to_contain_text(ASK[language])
        expect(page.get_by_role("log")).to_contain_text(WORDS[language][1])
        assert page.get_by_role("log").inner_text().count(ASK[language]) == answered.count(ASK[language])
        assert problems == []
        browser.close()


def test_a_stop_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path / "data", RAGLINE__TURN__QUIET_WINDOW="3") as stack:
        with stack.api() as api:
            ids = [
                api.post("/api/v1/messages", json={"conversation": f"c{n}", "text": ASK["en"]}).json()["message_id"]
                for n in range(30)
            ]
        assert stack.stop() == 0
        assert not stack.processes()
    with running(tmp_path / "data") as stack, stack.api() as api:
        deadline = time.monotonic() + 40
        states: list[str] = []
        while time.monotonic() < deadline:
            states = [api.get(f"/api/v1/messages/{message_id}").json()["status"] for message_id in ids]
            if set(states) == {"answered"}:
                break
            time.sleep(0.5)
        assert states == ["answered"] * 30


def _screenshot(page: Page, name: str) -> None:
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / name))
