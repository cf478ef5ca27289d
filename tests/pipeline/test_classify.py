"""What kind of request a burst is, and the language to answer it in."""

import pytest

from pipeline.steps.classify import classify, language_of
from pipeline.turn import Turn, TurnMessage
from storage.understanding import Part


def turn(*texts: str, kind: str = "text", locale: str | None = None) -> Turn:
    return Turn(id="t", messages=tuple(TurnMessage(kind=kind, text=text) for text in texts), locale=locale)


def _texts(listed: str) -> list[str]:
    return [" ".join(text.split()) for text in listed.split("|")]


CALLS = _texts(
    """
    соедините меня с человеком | мне нужен оператор | позови менеджера | дайте живого | хочу поговорить с человеком |
    speak to human | оператора | позвать специалиста | переведите на оператора | живой человек нужен | надоел бот |
    соедините с руководством | а человек тут есть? | можно с кем-то поговорить | хочу к директору | позвоните мне
    пусть кто-нибудь | перезвоните мне | зовите главного | соединяй с девушкой | операторр | оператар позовите |
    pozovi operatora | chelovek nuzhen | мне бы с живым человеком пообщаться | кто-нибудь живой есть? | бот отстань |
    я не хочу говорить с роботом | менеджера! | дай контакт менеджера | human please | real person | can I talk to
    somebody | i want to speak with a manager | get me a human | customer service representative | нужен консультант |
    есть кто живой | хочу написать живому сотруднику | переключи на живого | вызовите администратора | где оператор |
    позовите старшего | свяжитесь со мной | можно оператора? | ты бот? позови человека | роботы достали | хватит меня
    мучать, дайте оператора | потрібен оператор | покличте людину | з'єднайте з менеджером | поговорити з людиною | не
    бот а человек нужен | пусть ответит человек | ответит мне кто-нибудь из людей? | нужна помощь специалиста |
    консультация специалиста нужна | хочу пообщаться с сотрудником | давайте сюда менеджера | gjpjdbnt xtkjdtrf |
    vtytl;thf | переведи на спеца | дозовитесь оператора | help from human | i need a person not a bot | agent please
    | оператор нужен срочно!!! | вы живой человек? если нет, позовите живого | с роботом разговаривать не буду |
    оператор ау | тётю позови | дайте нормального специалиста, а не робота | свяжите с тех поддержкой | мне с
    менеджером надо переговорить | а можно не с ботом | хочу человеческого общения | выведите на линию оператора |
    подключите оператора к чату | пригласите сотрудника | жду оператора | когда ответит оператор | долго ещё ждать
    оператора
    """
)
SMALL_TALK = _texts(
    """
    здраствуйте | превет | приветик | доброе утро! | добрый | hey | good morning | салам | здарова бот | спасибочки |
    благодарю вас | огромное спасибо | сенкью | пасиба | ок спасибо | ладно | ясно | договорились | понял вас | супер
    | класс | ок | угу | до свидания | всего доброго | до связи | хорошего дня | пока пока | bye | как дела? | ты бот?
    | кто ты | ты живой? | ты человек? | вы робот? | с наступающим! | с праздником | с новым годом | доброй ночи |
    алло | вы тут? | есть кто? | прив | thx | cool | не надо спасибо | уже не нужно | вопрос снят | разобрался сам | я
    подумаю | хм | что делаешь | расскажи анекдот | молодец бот | ты классный | люблю вас | чмоки | приятно
    познакомиться | минутку | секунду | взаимно | и вам того же | дякую | вітаю | ошибся чатом | извините | не туда |
    123 | тест тест | проверка | ау | эй | здрасти | йоу | рахмет | не за что | все ок | всё хорошо | отлично спасибо
    | спасибо за помощь | спасибо что помогли | вы лучшие | вы супер | сколько тебе лет | как тебя зовут | где ты
    живёшь | ты умный | какой сегодня день | какая погода | мне скучно | поболтаем? | давай поговорим | lol | хаха
    смешно | ну ок | ага понятно | спс большое | ок, жду | хорошо, буду ждать | давайте | да | нет | ой всё | простите
    за беспокойство | thanks a lot | thank you so much | you too | nice bot | who are you | are you human? | good
    night | see ya | hello there | добрий день | на добраніч | уважаемые, добрый день
    """
)
QUESTIONS = _texts(
    """
    как позвонить оператору | номер телефона оператора | во сколько работают операторы | оператор сказал что доставка
    завтра, а её нет | курьер нахамил, куда пожаловаться | как стать менеджером у вас | менеджер обещал перезвонить и
    не перезвонил | можно сделать заказ через оператора | ваш сотрудник нагрубил мне | нужна консультация по выбору
    люстры | помогите выбрать лампу | можно поговорить о скидке | хочу подарить другу сертификат | кому пожаловаться
    на магазин | живые цветы есть? | помогите | как связаться с поддержкой по почте | есть ли вакансии консультанта |
    нужен ли паспорт при получении | может ли другой человек забрать заказ | позвоните мне перед доставкой | курьер
    позвонит заранее? | мастер приедет сам? | дайте скидку | хочу вернуть деньги | мне нужен чек | можно забрать заказ
    вместо другого человека | передать заказ другому человеку | спасибо, а доставка когда? | привет, есть скидки? |
    проверьте заказ | все понятно, но где деньги | какой пол у курьера | поддерживает ли лампа диммер | нужна ли
    регистрация | за меня может получить муж? | как добавить человека в бонусную программу | who can pick up my order
    | can someone else collect it | do you have a manager position | I want to cancel my order | can I get a person to
    install it
    """
)


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
        ("are you a real person", "greeting"),
        ("сколько человек поместится на диване", "question"),
    ],
)
def test_request(text: str, request_: str) -> None:
    assert classify(turn(text)).request == request_


@pytest.mark.parametrize("text", CALLS)
def test_a_call_for_a_person(text: str) -> None:
    assert classify(turn(text)).request == "human"


@pytest.mark.parametrize("text", SMALL_TALK)
def test_small_talk(text: str) -> None:
    assert classify(turn(text)).request in ("greeting", "thanks", "farewell")


@pytest.mark.parametrize("text", QUESTIONS)
def test_questions_that_name_people_or_begin_politely(text: str) -> None:
    assert classify(turn(text)).request == "question"


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
