"""Small talk and the wish for a person, recognised by their words in Russian, Ukrainian and English.

Small talk is a message all of whose words belong to it: a question that begins with "hello" is a question. The wish for
a person is a person's name for whom one calls, with nothing else asked, or a complaint about talking to a machine.
"""

from __future__ import annotations

import re
from typing import Literal

from storage.gloss import glossary
from storage.slips import in_russian_letters, on_the_other_layout
from storage.words import normalise

_CYRILLIC = re.compile(r"[а-яёіїєґў]", re.IGNORECASE)

Request = Literal["question", "greeting", "thanks", "farewell", "human"]

_GREETING = """
    hi hello hey hiya howdy yo heya greetings start morning good_morning good_afternoon good_evening good_day привет
    приветик приветики приветствую здравствуй здравствуйте здрасьте здрасте здрасти драсьте здорово здоров здаров
    здарова здравия хай хеллоу хелло салют алло але алле ало ку дороу добрый_день добрый_вечер доброе_утро доброго_дня
    доброго_вечера доброго_утра доброго_времени_суток доброй_ночи добрый_ доброго_времени дд витаю витання добрий_день
    добрий_вечир доброго_ранку добридень здоровеньки салам салам_алейкум ассаламу_алейкум шалом прив прива ку-ку йоу
    йо гуд_морнинг добрый доброе доброго_времени_дня с_добрым_утром рад_приветствовать эй ау есть_тут_кто
    есть_кто_нибудь есть_кто-нибудь с_наступающим с_праздником с_праздниками с_новым_годом с_рождеством
    с_днем_рождения с_наступающим_новым_годом поздравляю happy_new_year merry_christmas gm hola salam
"""
_THANKS = """
    thanks thank_you thank thx ty tnx cheers many_thanks great perfect awesome cool nice ok okay kk got_it understood
    sure fine right yes no yep nope lol haha hahaha wow sorry never_mind nevermind wrong_chat test testing спасибо
    спасибочки спасиб пасиб пасибо пасибки спс спасибки благодарю благодарен благодарна благодарим мерси сенкс отлично
    супер ясно понятно понял поняла поняли понятненько хорошо хорош ладно ладненько ок окей оке окс класс классно
    круто здорово прекрасно замечательно принято договорились ага угу да нет неа дякую дуже_дякую зрозумило добре
    гаразд ахаха ахах ахахах хаха хахаха ха хех лол ого вау ура молодцы молодец умница умнички извините извини
    простите прости пардон сорри сори не_туда_написал не_туда_написала не_туда_отправил не_туда_отправила ошибся_чатом
    ошиблась_чатом ошибся ошиблась не_вам не_сюда тест тестирую проверка проверка_связи раз_два_три все_понятно
    помогли выручили помог выручил помогла выручила все_получилось получилось разобрался разобралась разобрались
    вопрос_решен вопрос_снят решено сенкью сэнкью рахмет пасиба спасиба благодарствую признателен признательна
    вы_лучшие вы_супер ты_супер ты_лучший вы_молодцы ты_молодец ты_классный ты_хороший ты_умный ты_крутой люблю_вас
    люблю_тебя обожаю_вас что_помогли что_ответили что_выручили за_ответы за_оперативность за_понимание за_внимание
    за_быстрый_ответ за_беспокойство за_отзывчивость за_терпение не_за_что взаимно аналогично и_вам_того_же
    и_тебе_того_же сам_разобрался сама_разобралась сам сама сами нашел нашла уже_нашел уже_нашла уже_не_нужно
    уже_не_надо не_нужно не_надо больше_не_нужно ничего_не_нужно ничего не_важно неважно забудьте проехали отбой
    вопросов_нет вопросов_больше_нет больше_вопросов_нет все_ок все_хорошо все_норм норм нормально пойдет годится
    подходит устраивает сойдет жду ждем буду_ждать подожду подождем минутку минуточку секунду секундочку сек
    сейчас_посмотрю я_подумаю подумаю давайте давай конечно разумеется точно верно именно согласен согласна упс ой
    ой_все не_туда не_по_адресу случайно случайно_нажал случайно_нажала случайно_отправил случайно_отправила
    простите_за_беспокойство извините_за_беспокойство ясненько пон усек смешно забавно прикольно прикол лайк респект
    топ огонь шикарно великолепно чудесно превосходно умничка молодчина чмоки обнимаю good well_done good_job nice_one
    no_thanks no_need no_problem np you_too same_to_you my_bad oops wrong_person wrong_number one_moment one_second
    just_a_second i_will_wait i'll_wait of_course agreed deal much_appreciated appreciate_it i_appreciate_it
    thanks_a_lot thanks_a_bunch that_helped that_works all_good solved resolved funny дякуемо щиро_дякую красно_дякую
    123 раз_два раз_раз тестовое_сообщение проверка_чата
"""
_FAREWELL = """
    bye goodbye good_bye bye_bye see_you see_ya later take_care have_a_nice_day have_a_good_day have_a_great_day
    good_night пока покеда до_свидания досвидания до_встречи до_скорого всего_доброго всего_хорошего всего_наилучшего
    хорошего_дня хорошего_вечера хороших_выходных удачи прощайте до_завтра спокойной_ночи бывайте бувайте до_побачення
    гарного_дня до_связи на_связи бай бай-бай гудбай чао хорошего_вам_дня всего_вам_доброго хорошего_настроения
    приятного_дня приятного_вечера сладких_снов спокойной бб всех_благ будьте_здоровы берегите_себя успехов
    всего_самого_доброго на_добранич бувай cya ciao farewell have_a_nice_one have_a_nice_evening have_a_good_one
    until_tomorrow talk_to_you_later
"""
#: What is asked of the machine itself, not of the company.
_ABOUT_US = """
    как_дела как_дела_у_вас как_ты как_жизнь как_вы как_сам как_настроение что_делаешь как_поживаешь как_тебя_зовут
    как_вас_зовут как_твое_имя твое_имя ты_кто кто_ты вы_кто кто_вы кто_это ты_бот вы_бот это_бот ты_робот вы_робот
    ты_тут вы_тут ты_здесь вы_здесь есть_кто есть_кто_живой ты_меня_слышишь вы_меня_слышите слышите_меня меня_слышно
    ты_меня_понимаешь что_ты_умеешь что_вы_умеете что_умеешь расскажи_анекдот расскажи_шутку пошути how_are_you
    how_are_you_doing how_is_it_going how's_it_going what's_up whats_up sup who_are_you what_are_you what_is_your_name
    what's_your_name are_you_a_bot are_you_a_robot are_you_there anybody_there anyone_there is_anyone_there
    can_you_hear_me what_can_you_do tell_me_a_joke nice_to_meet_you як_справи хто_ти як_тебе_звати ты_живой вы_живой
    ты_человек вы_человек ты_реальный вы_реальный ты_настоящий это_робот это_человек я_с_ботом_говорю с_кем_я_говорю
    с_кем_я_общаюсь кто_ты_такой сколько_тебе_лет где_ты_живешь откуда_ты ты_умеешь_шутить ты_понимаешь_меня ты_спишь
    чем_занимаешься чем_занят что_нового как_оно как_сами как_твои_дела как_ваши_дела приятно_познакомиться
    рад_познакомиться очень_приятно мне_скучно скучно поболтаем давай_поболтаем давай_поговорим поговори_со_мной
    поговорим расскажи_что-нибудь расскажи_что_нибудь расскажи_сказку спой_песню какая_погода какая_сегодня_погода
    какой_сегодня_день который_час ты_меня_любишь выходи_за_меня are_you_human are_you_a_human are_you_real
    are_you_a_person am_i_talking_to_a_bot how_old_are_you where_are_you_from i_am_bored i'm_bored talk_to_me
    let's_talk do_you_understand_me how_do_you_do how_is_your_day how_was_your_day what_is_new what's_new
    what_are_you_doing do_you_love_me sing_me_a_song what's_the_weather ти_хто ти_бот ти_людина як_життя
"""
_FILLER = """
    there everyone everybody team all you guys again so very much a_lot for_your_help for_the_help for_help for_that
    i_see have_it it dear friend friends buddy bot please вам вас всем все большое огромное громадное очень еще раз
    за_помощь за_ответ за_информацию за_совет за_консультацию вы ты меня мне я мы нас вам_тоже и_вам и_вас тебе тебя
    ну а и о ой эй же так тогда теперь уже друзья ребята девушка бот дорогие уважаемые господа коллеги команда народ
    люди сейчас пожалуйста просто это от_души всё дуже с блин короче типа вот милая дорогой дорогая друг дружище бро
    братан брат чат помощник ассистент робот магазин поддержка искренне сердечно реально и_всем за_все огромнейшее
    огромная отдельное mate bro man folks really too also well then just
"""


def _phrases(text: str) -> set[str]:
    return {phrase.replace("_", " ").strip() for phrase in text.split()}


_KINDS: dict[Request, set[str]] = {
    "farewell": _phrases(_FAREWELL),
    "thanks": _phrases(_THANKS),
    "greeting": _phrases(_GREETING) | _phrases(_ABOUT_US),
}
_FILLERS = _phrases(_FILLER)
_LONGEST = max(len(phrase.split()) for phrase in set.union(_FILLERS, *_KINDS.values()))
#: Words people often misspell, as they are meant.
_MISSPELT = (
    (re.compile(r"пр[еиы]в[еэи]т\w{0,4}"), "привет"),
    (re.compile(r"з[дт]р[ао][вс]\w{2,5}т[еи]"), "здравствуйте"),
    (re.compile(r"с?п[ао]с[иеы]б\w{0,4}"), "спасибо"),
    (re.compile(r"бл[ао]г[оа]д[ао]р\w{1,3}"), "благодарю"),
    (re.compile(r"[оа]п[еи]р[аои]т[оае]р+\w{0,3}"), "оператор"),
    (re.compile(r"м[еи]н[еи]дж[еи]р\w{0,3}"), "менеджер"),
    (re.compile(r"к[оа]нс[уа]л[ьт]{1,2}[ао]нт\w{0,3}"), "консультант"),
)
#: Laughter and stretched sounds: "ахахаха", "ммм", "привееет".
_STRETCHED = re.compile(r"(\w)\1{2,}")
_LAUGHTER = re.compile(r"(?:а?(?:ха|хи|хе|hа|ha|he|ах|аха)){2,}х?|м{2,}|э{2,}|хм+|гм+|lo+l|ло+л|x+d+")

_PERSON = (
    r"(?:оператор\w*|операторш\w*|человек\w*|человеч\w*|люд(?:и|ей|ям|ьми)|людин\w*|менеджер\w*|специалист\w*|"
    r"консультант\w*|сотрудни\w*|работни\w*|поддержк\w*|пидтримк\w*|саппорт\w*|начальник\w*|начальств\w*|руководител\w*|"
    r"руководств\w*|администратор\w*|администраци\w*|супервайзер\w*|старш\w+(?: смены)?|представител\w*|коллег\w*|"
    r"кого нибудь|кого-нибудь|кто нибудь|кто-нибудь|кем нибудь|кем-нибудь|кого то|кого-то|кто то|кто-то|"
    r"кем то|кем-то|агент\w*|диспетчер\w*|спец(?:а|у|ом|ов)?|директор\w*|главн(?:ого|ому|ым|ую)|девушк\w+|парн[яю]|"
    r"тет(?:ю|еньку)|дядю|техподдержк\w*|"
    r"humans?|person|operator|agent|rep|representative|manager|supervisor|someone|somebody|consultant|"
    r"employee|staff|support(?: team)?|specialist|advisor|assistant|customer service(?: representative| rep| agent)?)"
)
_ALIVE = r"(?:жив\w+|реальн\w+|настоящ\w+|нормальн\w+|real|live|living|actual|proper)"
_CALL = (
    r"(?:позов\w+|пози?ви\w*|зови\w*|соедин\w+|зъедна\w+|з'еднай\w+|зв'яж\w+|подключ\w+|переключ\w+|перевед\w+|перевод|переведи\w*|"
    r"свяж\w+|связать\w*|связаться|пригла[сш]\w+|дай|дайте|давай\w*|дадите|верните|передай\w*|перекин\w+|подзов\w+|"
    r"вызов\w*|вызва\w+|вызыва\w+|нужен|нужна|нужно|нужны|надо|треба|потрибен|хочу|хотел\w*|хочется|прошу|"
    r"можно|можете|требую|ответь\w*|ответит\w*|пообщаться|общаться|поговор\w+|говорить|побесед\w+|"
    r"пусть|жду|ждать|сюда|поклич\w+|дозов\w+|звать|позвать|вывед\w+|выведи|откликн\w+|отзов\w+|ау|переговорить|"
    r"talk|speak|chat|connect|transfer me|switch me|put me|pass me|get me|give me|get a|need a|want a|"
    r"need to reach|want to reach|can i reach|let me have|bring me)"
)
#: Someone to be called, near the word that calls, in either order.
_CALLED = re.compile(
    rf"(?<!\w){_CALL}(?: [\w'-]+){{0,4}}? (?:{_ALIVE} )?{_PERSON}(?!\w)"
    rf"|(?<!\w){_PERSON}(?: [\w'-]+){{0,2}}? {_CALL}(?!\w)"
)
_LIVE_PERSON = re.compile(
    rf"(?<!\w){_ALIVE} {_PERSON}(?!\w)|(?<!\w){_PERSON} {_ALIVE}(?!\w)"
    rf"|(?<!\w){_CALL}(?: [\w'-]+){{0,2}}? жив(?:ого|ому|ым|ых|ыми|ую)$"
)
#: "Call me back": only a person can.
_CALL_BACK = re.compile(
    r"(?:(?:пожалуйста|срочно|прошу|можете|можно|вы) )*(?:перезвон\w+|наберите|свяжитесь)"
    r"(?: (?:мне|меня|со мной|пожалуйста|срочно|прямо|сейчас))*|(?:please )?call me(?: back)?(?: please| now)?"
)
_ONLY_PERSON = re.compile(
    rf"(?:(?:ало|алло|але|эй|hey|hello|привет|здравствуйте|пожалуйста|please|the|a|срочно|{_ALIVE}) )*{_PERSON}"
    r"(?: (?:пожалуйста|плиз|please|срочно|сюда|now|скорее|быстро|эй|ало|алло))*"
)
_NO_MACHINE = re.compile(
    r"(?:не (?:хочу|буду|желаю|надо|собираюсь|могу)|хватит|достал\w*|надоел\w*|устал\w*|сколько можно|задолбал\w*|"
    r"отключ\w+|убери\w*|tired of|sick of|stop|hate|don't want|do not want|not want|no more|instead of)"
    r"(?: [\w'-]+){0,4}? (?:бот\w*|робот\w*|автоответчик\w*|автомат\w*|машин(?:ой|а|у)|шаблон\w*|bots?|robots?|machine)"
    r"|(?:бот\w*|робот\w*) (?:[\w'-]+ ){0,3}(?:бесполезн\w*|туп\w+|глуп\w*|не поним\w*|не помог\w*|отстань\w*|"
    r"отвали\w*|уйди\w*|достал\w*|надоел\w*|useless|stupid|go away)"
    r"|(?:с|со|от) (?:бот\w+|робот\w+)(?: [\w'-]+){0,2} не (?:буду|хочу|желаю|могу|собираюсь)"
    r"|(?:можно |давайте |а )*(?:не с|без) (?:бот\w+|робот\w+)"
    r"|help from (?:a )?(?:human|person)|not (?:a |with a |to a )?(?:bot|robot)(?!\w)"
    r"|(?:тут|здесь)(?: вообще)? (?:кто|есть)(?:-| )?(?:то|нибудь|кто)?(?: есть)? (?:кроме|жив\w+)"
    r"|кто-?\s?(?:то|нибудь)? жив\w+|с кем(?: [\w'-]+){0,3} (?:поговорить|пообщаться|говорить|общаться)"
)
#: What only sounds like calling: is the machine a person, how something is done.
_NO_CALL = re.compile(
    r"(?:how|what|who|why|do i|does|find out)(?!\w)|.*(?<!\w)(?:are|is|r) (?:you|this|it|u)(?!\w)"
    r"|.*(?<!\w)am i (?:speak|talk|chat)|.*(?<!\w)(?:be|like) an? \w+"
)
_WHERE = re.compile(
    r"(?:ну |а |и )?где (?:тут |здесь |у вас |все |вообще )*(?:люди|человек|оператор\w*|менеджер\w*)(?!\w)"
    r"|(?:ну |а |у вас |тут |здесь |вообще |ало |алло )*(?:есть )?(?:кто )?(?:люди|человек|операторы?|кто живой|живые)"
    r"(?: (?:тут|здесь|вообще|у вас|есть|в чате))+$"
    r"|(?:ну |а |эй |ало |алло )*есть (?:тут |здесь )?кто(?: тут| здесь)? живой(?: тут| здесь)?$"
)
#: The same in glosses: whom, calling, and what may be said beside.
_PERSONS = {"operator", "person", "head", "someone", "manager", "specialist", "employee"}
_CALLS = {
    "call", "call me back", "connect", "contact", "give", "need", "want", "switch", "speak", "talk", "chat", "invite"
}  # fmt: skip
_BESIDES = {
    "i",
    "me",
    "you",
    "please",
    "urgent",
    "here",
    "now",
    "with",
    "can",
    "not",
    "bot",
    "faster",
    "fast",
    "hello",
    "help",
    "support",
    "shop",
    "line",
    "problem",
    "question",
    "consultation",
    "already",
    "again",
    "answer",
    "urgent need",
    "waiting",
    "wait",
    "chat",
}
#: So few words with a person among them need no call.
_FEW = 3
#: Told outright to call somebody, or that one wants to speak to somebody: then it does not matter what else is said.
_OUTRIGHT = re.compile(
    r"(?<!\w)(?:позови(?:те)?|зови(?:те)?|соедини(?:те)?|переключи(?:те)?|переведи(?:те)?|свяжи(?:те)?|подключи(?:те)?|"
    r"пригласи(?:те)?|вызови(?:те)?|дай(?:те)?|хочу|хотел[аи]? бы|хотелось бы|прошу|требую|нужен|нужна|можно)"
    rf"(?: [\w'-]+){{0,3}}? (?:{_ALIVE} )?(?:оператор\w*|человек\w*|люд(?:ей|ьми)|менеджер\w*|специалист\w*|"
    r"консультант\w*|сотрудник\w*|администратор\w*|начальник\w*|руководител\w*|директор\w*|поддержк\w+|старш\w+)(?!\w)"
    r"|(?<!\w)(?:talk|speak|chat|connect me|put me through|transfer me) (?:to|with) (?:an? |the |your |some )?"
    rf"(?:{_ALIVE} )?{_PERSON}(?!\w)"
)
#: ... but about somebody for somebody else, or through whom something is done.
_NOT_OUTRIGHT = re.compile(
    r"(?<!\w)(?:через|другого|другому|другим|за меня|вместо|вместе|по телефону|сам(?:ого|ому)|на дом|в магазине|"
    r"заказать|забрать|получить|оформить|купить|передать|мастер\w*|курьер\w*|установ\w*|сборк\w*|ремонт\w*|"
    r"к какому|какой|какого)(?!\w)"
)
#: Words of a message that calls outright.
_OUTRIGHT_WORDS = 30
#: Beyond this many words the message says more than "give me a person".
_HUMAN_WORDS = 12
#: A person named together with these is a question about orders, jobs or the like.
_ASKS = re.compile(
    r"(?<!\w)(?:заказ\w*|оформ\w*|купить|покуп\w*|доставк\w*|курьер\w*|цена|стоит|сколько|гаранти\w*|возврат\w*|верн\w*|"
    r"товар\w*|магазин\w*|ваканси\w*|работу|зарплат\w*|график\w*|телефон\w*|номер\w*|адрес\w*|деньги|оплат\w*|ремонт\w*|"
    r"мастер\w*|установ\w*|почт\w*|деньг\w*|скидк\w*|install|money|mail|order|delivery|refund|price|return|job|hiring|hours|phone|number|address|account|card|pay\w*)"
)


def request_of(text: str) -> Request:
    """What kind of request a text is; ``question`` unless it is plainly something else."""
    readings = [text, on_the_other_layout(text)]
    if not _CYRILLIC.search(text):
        readings.append(in_russian_letters(text))
    for read in readings:
        words = _STRETCHED.sub(r"\1", normalise(read.replace("’", "'")))
        if not words:
            continue
        if _WHERE.match(words):
            return "human"
        kind = _small_talk([_meant(word) for word in words.split()])
        if kind:
            return kind
        if _asks_for_person(words) or _asks_for_person(" ".join(map(_meant, words.split()))):
            return "human"
    return "question"


def _meant(word: str) -> str:
    return next((meant for pattern, meant in _MISSPELT if pattern.fullmatch(word)), word)


def _small_talk(words: list[str]) -> Request | None:
    """The kind of small talk that the words are made of, None where any other word is among them."""
    found: list[Request] = []
    place = 0
    while place < len(words):
        for size in range(min(_LONGEST, len(words) - place), 0, -1):
            phrase = " ".join(words[place : place + size])
            kind = next((name for name, phrases in _KINDS.items() if phrase in phrases), None)
            if kind or phrase in _FILLERS or (size == 1 and _LAUGHTER.fullmatch(phrase)):
                found += [kind] if kind else ["thanks"] if phrase not in _FILLERS else []
                place += size
                break
        else:
            return None
    # Who says goodbye is answered so, whatever came before; else what came first counts.
    return "farewell" if "farewell" in found else found[0] if found else None


def _asks_for_person(words: str) -> bool:
    if len(words.split()) <= _OUTRIGHT_WORDS and _OUTRIGHT.search(words) and not _excused(words):
        return True
    if len(words.split()) > _HUMAN_WORDS or _ASKS.search(words) or _NO_CALL.match(words):
        return False
    return bool(
        _ONLY_PERSON.fullmatch(words)
        or _CALL_BACK.fullmatch(words)
        or _LIVE_PERSON.search(words)
        or _CALLED.search(words)
        or _NO_MACHINE.search(words)
        or _glosses_call(words)
    )


def _excused(words: str) -> bool:
    return bool(_NOT_OUTRIGHT.search(words) or _NO_CALL.match(words))


def _glosses_call(words: str) -> bool:
    """Whether a text says nothing but that somebody is to be called, whatever the words and their spelling."""
    glosses = set(glossary().glosses(words))
    named, called = glosses & _PERSONS, glosses & _CALLS
    return bool(named) and (bool(called) or len(glosses) <= _FEW) and glosses <= _PERSONS | _CALLS | _BESIDES
