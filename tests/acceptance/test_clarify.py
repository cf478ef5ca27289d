"""A question that two items may answer: buttons in Telegram, a numbered list on the API, labels for both."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import select

from storage.models import Label, Turn
from tests.acceptance.stack import Stack, running
from tests.support.fake_telegram import FakeTelegram
from tests.support.telegram_terminal import buttons

SHOES, COATS = "Shoes: within 14 days, in their box.", "Coats: within 30 days, with the label."
ITEMS = [
    {"id": "shoes", "questions": ["How do I return shoes?"], "answer": SHOES, "locale": "en"},
    {"id": "coats", "questions": ["How do I return a coat?"], "answer": COATS, "locale": "en"},
]
ASKED = "How do I return it?"
SECRET = secrets.token_urlsafe(24)
pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeTelegram, Stack]]:
    folder: Path = tmp_path_factory.mktemp("clarify")
    base = folder / "base.jsonl"
    base.write_text("".join(json.dumps(item) + "\n" for item in ITEMS), encoding="utf-8")
    with (
        FakeTelegram() as telegram,
        running(
            folder / "data",
            TELEGRAM_BOT_TOKEN=telegram.token,
            TELEGRAM_API_BASE=telegram.url,
            TELEGRAM_MODE="webhook",
            TELEGRAM_WEBHOOK_SECRET=SECRET,
            RAGLINE_QUIET_WINDOW="0",
            RAGLINE__KNOWLEDGE__DEMO="off",
            RAGLINE__ANSWER__DIRECT_THRESHOLD="0.97",
            RAGLINE__ANSWER__CLARIFY_THRESHOLD="0.02",  # what is near is shown here, not how near it has to be
        ) as stack,
    ):
        stack.ragline("kb", "import", str(base))
        telegram.set_webhook(f"{stack.url}/telegram/default/webhook", SECRET)
        yield telegram, stack


def test_telegram_buttons_answer_once_and_only_in_their_own_chat(world: tuple[FakeTelegram, Stack]) -> None:
    telegram, stack = world
    telegram.user_says(11, ASKED)
    (offer,) = telegram.wait_sent(1, chat_id=11)
    titles = {button["text"]: button["callback_data"] for button in buttons(offer)}
    assert set(titles) == {"How do I return shoes?", "How do I return a coat?", "None of these"}

    telegram.user_presses(11, titles["How do I return a coat?"])
    assert telegram.wait_sent(2, chat_id=11)[1].text == COATS
    telegram.user_presses(11, titles["How do I return a coat?"], offer.message_id)
    telegram.wait_for(lambda: len(telegram.answered_callbacks) == 2, 10, "the second press to be acknowledged")
    assert telegram.answered_callbacks[1]["text"] == "You have the answer above."

    telegram.user_says(12, "hello")
    (greeting,) = telegram.wait_sent(1, chat_id=12)
    telegram.user_presses(12, titles["How do I return shoes?"], greeting.message_id)
    forged = telegram.wait_sent(2, chat_id=12)[1]
    assert not {SHOES, COATS} & {forged.text}

    telegram.user_presses(11, titles["None of these"], offer.message_id)
    telegram.wait_sent(3, chat_id=11)
    stack.wait_quiet()
    assert [sent.text for sent in telegram.sent if sent.chat_id == 11].count(COATS) == 1
    (flag,) = [flag for flag in stack.ragline("flags") if flag["conversation"] == "11"]
    assert (flag["cause"], flag["question"]) == ("no_answer", ASKED)
    with stack.sql() as session:
        assert set(session.exec(select(Turn.status))) == {"answered"}
        assert len(session.exec(select(Label)).all()) == 2


def test_the_api_shows_the_options_and_takes_a_number(world: tuple[FakeTelegram, Stack]) -> None:
    _, stack = world
    with stack.api() as api:

        def ask(text: str) -> dict[str, object]:
            body = {"conversation": "numbers", "text": text}
            answered = api.post("/api/v1/messages?wait=20", json=body).json()
            found: dict[str, object] = answered["answer"]
            return found

        offer = ask(ASKED)
        options = offer["options"]
        assert isinstance(options, list)
        assert (offer["mode"], options[-1]) == ("clarify", {"id": None, "title": "None of these"})
        assert {option["id"] for option in options[:-1]} == {"shoes", "coats"}
        for number, option in enumerate(options, 1):
            assert f"{number}. {option['title']}" in str(offer["text"])
        number = [option["id"] for option in options].index("shoes") + 1
        answer = ask(str(number))
        assert (answer["mode"], answer["text"], answer["confidence"]) == ("direct", SHOES, 1.0)
        assert answer["citations"] == [{"id": "shoes", "title": "How do I return shoes?"}]
        assert "options" not in answer
    stack.wait_quiet()
    rows = stack.ragline("kb", "labels")
    assert {"text": ASKED, "gold": ["shoes"], "split": "dev", "kind": "in"} in rows
