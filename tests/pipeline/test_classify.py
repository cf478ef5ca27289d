"""What kind of request a burst is, and the language to answer it in."""

import pytest

from pipeline.steps.classify import classify, language_of
from pipeline.turn import Turn, TurnMessage
from storage.understanding import Part


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


def parts(*found: Part, kind: str = "photo", text: str = "", locale: str | None = None) -> Turn:
    return Turn(id="t", messages=(TurnMessage(kind=kind, text=text, parts=found),), locale=locale)


@pytest.mark.parametrize(
    ("given", "question", "modality", "language"),
    [
        (parts(Part(kind="voice", heard="где мой заказ"), kind="voice"), "где мой заказ", "voice", "ru"),
        (
            parts(Part(kind="photo", seen="Чайник. ERROR CODE E04"), text="что это?"),
            "что это?\nНа фото: Чайник. ERROR CODE E04",
            "image",
            "ru",
        ),
        (
            parts(Part(kind="photo", seen="Kettle", language="ru"), locale="en"),
            "На фото: Kettle",
            "image",
            "ru",
        ),
        (
            parts(Part(kind="video", heard="is it sold", seen="A kettle"), kind="video"),
            "is it sold\nIn the video: A kettle",
            "video",
            "en",
        ),
        (
            parts(Part(kind="document", name="a.pdf", read="Order 5 " * 100), text="why?", kind="document"),
            "why?",
            "document",
            "en",
        ),
        (parts(kind="location", text="55.7, 37.6", locale="ru"), "Местоположение: 55.7, 37.6", "text", "ru"),
        (parts(kind="contact", text="Anna, +79990000000", locale="ru"), "Контакт: Anna, +79990000000", "text", "ru"),
        (parts(kind="other", text="[poll] Which one?\n- this\n- that"), "Which one?\n- this\n- that", "text", "en"),
    ],
)
def test_what_files_say_is_part_of_the_question(given: Turn, question: str, modality: str, language: str) -> None:
    found = classify(given)
    assert (found.question, found.modality, found.language, found.request) == (question, modality, language, "question")


def test_a_document_is_attached_and_stands_for_itself_where_nothing_was_written() -> None:
    order = Part(kind="document", name="a.pdf", read="Order 5\n" + "row " * 200)
    asked = classify(parts(order, text="why?", kind="document"))
    assert asked.attached.startswith("a.pdf\nOrder 5")
    assert asked.asked == f"why?\n\n{asked.attached}"
    alone = classify(parts(order, kind="document"))
    assert alone.question.startswith("Document: a.pdf Order 5 row row")
    assert len(alone.question) < 400


def test_what_cannot_be_understood_is_unreadable_and_says_why() -> None:
    found = classify(parts(Part(kind="photo", problem="too_large", language="ru")))
    assert (found.request, found.problem, found.language, found.modality) == ("unreadable", "too_large", "ru", "text")
    beside = classify(parts(Part(kind="photo", problem="broken"), text="how much is delivery?"))
    assert (beside.request, beside.problem) == ("question", "broken")
    assert classify(parts(kind="other", text="[story]")).request == "unreadable"
