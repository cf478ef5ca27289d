"""What kind of request a burst is, and the language to answer it in."""

import pytest

from pipeline.steps.classify import classify, language_of
from pipeline.turn import Turn, TurnMessage


def turn(*texts: str, kind: str = "text", locale: str | None = None) -> Turn:
    return Turn(id="t", messages=tuple(TurnMessage(kind=kind, text=text) for text in texts), locale=locale)


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("Привет", "greeting"),
        ("Hello there", "greeting"),
        ("Здравствуйте, спасибо", "greeting"),
        ("привет! как вернуть товар", "question"),
        ("hello, how long does delivery take?", "question"),
        ("спасибо большое", "thanks"),
        ("👍", "thanks"),
        ("bye", "farewell"),
        ("позовите оператора", "human"),
        ("хочу поговорить с живым человеком", "human"),
        ("Can I talk to a human please", "human"),
        ("operator", "human"),
        ("можно заказать через оператора?", "question"),
        ("есть ли у вас поддержка 4к в телевизорах", "question"),
        ("спасибо, а доставка платная?", "question"),
        ("всем приветик", "greeting"),
        ("как дела?", "greeting"),
        ("ахахаха", "thanks"),
        ("спасибо, до свидания", "farewell"),
        ("всё, разобралась, спасибо!", "thanks"),
        ("thanks a lot, you have been great", "question"),
        ("never mind, wrong chat", "thanks"),
        ("руддщ", "greeting"),
        ("дайте мне живого человека наконец", "human"),
        ("не хочу разговаривать с роботом", "human"),
        ("jgthfnjh", "human"),
        ("get me a real person", "human"),
        ("покличте людину", "human"),
        ("are you a real person", "question"),
        ("сколько человек поместится на диване", "question"),
    ],
)
def test_request(text: str, request_: str) -> None:
    assert classify(turn(text)).request == request_


def test_a_burst_is_one_question() -> None:
    found = classify(turn("здравствуйте", "я заказал чайник", "где он?"))
    assert found.question == "здравствуйте\nя заказал чайник\nгде он?"
    assert found.request == "question"


def test_start_greets_and_a_voice_without_words_cannot_be_read() -> None:
    assert classify(turn("/start", kind="command")).request == "greeting"
    assert classify(turn("/ask where is my order", kind="command")).question == "where is my order"
    assert classify(turn("", kind="voice")).request == "unreadable"
    assert classify(turn("how much is this?", kind="photo")).request == "question"


@pytest.mark.parametrize(
    ("text", "locale", "language"),
    [
        ("Где мой заказ?", None, "ru"),
        ("Where is my order?", "ru", "en"),
        ("Не работает Samsung QE55Q60", "en", "ru"),
        ("12345", "ru-RU", "ru"),
        ("12345", None, "en"),
        ("🙂", "uk", "ru"),
    ],
)
def test_language(text: str, locale: str | None, language: str) -> None:
    assert language_of(text, locale) == language
