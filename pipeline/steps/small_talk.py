"""Small talk: greetings, thanks, farewells, and what is asked of the machine itself, in Russian, Ukrainian and English.

A message is small talk when all of its words belong to it: a question that begins with "hello" is a question.
"""

from __future__ import annotations

import re
from typing import Literal

from pipeline.steps.wishes import ARE_YOU_A_BOT

SmallTalk = Literal["greeting", "thanks", "farewell"]

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
    вопросов_нет вопросов_больше_нет больше_вопросов_нет все_ок все_хорошо все_норм все_работает заработало норм
    нормально пойдет годится подходит устраивает сойдет жду ждем буду_ждать подожду подождем минутку минуточку секунду
    секундочку сек сейчас_посмотрю я_подумаю подумаю давайте давай конечно разумеется точно верно именно согласен
    согласна упс ой ой_все не_туда не_по_адресу случайно случайно_нажал случайно_нажала случайно_отправил
    случайно_отправила простите_за_беспокойство извините_за_беспокойство ясненько пон усек сяб смешно забавно
    прикольно прикол лайк респект топ огонь шикарно великолепно чудесно превосходно умничка молодчина чмоки обнимаю
    good well_done good_job nice_one no_thanks no_need no_problem np you_too same_to_you my_bad oops wrong_person
    wrong_number one_moment one_second just_a_second i_will_wait i'll_wait of_course agreed deal much_appreciated
    appreciate_it i_appreciate_it thanks_a_lot thanks_a_bunch that_helped that_works all_good solved resolved funny
    дякуемо щиро_дякую красно_дякую дяки 123 раз_два раз_раз 1_2_3 1_2 тестовое_сообщение проверка_чата
"""
_FAREWELL = """
    bye goodbye good_bye bye_bye see_you see_ya later take_care have_a_nice_day have_a_good_day have_a_great_day
    good_night пока покеда до_свидания досвидания до_встречи до_скорого всего_доброго всего_хорошего всего_наилучшего
    хорошего_дня хорошего_вечера хороших_выходных удачи прощайте до_завтра спокойной_ночи бывайте бувайте до_побачення
    гарного_дня до_связи на_связи бай бай-бай гудбай чао хорошего_вам_дня всего_вам_доброго хорошего_настроения
    приятного_дня приятного_вечера сладких_снов спокойной бб всех_благ будьте_здоровы берегите_себя успехов
    всего_самого_доброго на_добранич бувай бывай cya ciao farewell have_a_nice_one have_a_nice_evening have_a_good_one
    until_tomorrow talk_to_you_later
"""
#: What is asked of the machine itself, not of the company.
_ABOUT_US = """
    как_дела как_дела_у_вас как_ты как_жизнь как_вы как_сам как_настроение что_делаешь как_поживаешь как_тебя_зовут
    как_вас_зовут как_твое_имя твое_имя ты_кто кто_ты вы_кто кто_вы кто_это ты_бот вы_бот это_бот ты_робот вы_робот
    ты_тут вы_тут ты_здесь вы_здесь есть_кто ты_меня_слышишь вы_меня_слышите слышите_меня меня_слышно
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
    с_кем_я_разговариваю с_кем_говорю с_кем_общаюсь кто_со_мной_говорит кто_мне_отвечает кто_мне_пишет кто_тут
    кто_здесь кто_на_связи есть_кто-нибудь_на_связи вы_на_связи ты_на_связи кто-нибудь_тут кто-нибудь_здесь
    кто-нибудь_есть is_anybody_there is_anyone_here anybody_here you_there who_am_i_talking_to who_is_this
    who_made_you
"""
_FILLER = """
    you_are you're больше there everyone everybody team all you guys again so very much a_lot for_your_help
    for_the_help for_help for_that i_see have_it it dear friend friends buddy bot please вам вас всем все больш_
    большие большой большое огромное громадное очень еще раз за_помощь за_ответ за_информацию за_совет за_консультацию
    вы ты меня мне я мы нас вам_тоже и_вам и_вас тебе тебя ну а и о ой эй же так тогда теперь уже друзья ребята
    девушка бот дорогие уважаемые господа коллеги команда народ люди сейчас пожалуйста просто это от_души всё дуже с
    блин короче типа вот милая дорогой дорогая друг дружище бро братан брат чат помощник ассистент робот магазин
    поддержка искренне сердечно реально и_всем за_все огромнейшее огромная отдельное mate bro man folks really too
    also well then just
"""


def _phrases(text: str) -> set[str]:
    return {phrase.replace("_", " ").strip() for phrase in text.split()}


_KINDS: dict[SmallTalk, set[str]] = {
    "farewell": _phrases(_FAREWELL),
    "thanks": _phrases(_THANKS),
    "greeting": _phrases(_GREETING) | _phrases(_ABOUT_US),
}
_FILLERS = _phrases(_FILLER)
_LONGEST = max(len(phrase.split()) for phrase in set.union(_FILLERS, *_KINDS.values()))
#: Laughter and stretched sounds: "ахахаха", "ммм", "привееет".
_LAUGHTER = re.compile(r"(?:а?(?:ха|хи|хе|hа|ha|he|ах|аха)){2,}х?|м{2,}|э{2,}|хм+|гм+|lo+l|ло+л|x+d+")
#: Greetings, wishes and thanks that are made up anew each time, as they stand anywhere in a text.
_MADE_UP: dict[SmallTalk, re.Pattern[str]] = {
    "greeting": re.compile(
        r"(?<!\w)(?:(?:добр|с добр|всем добр)\w* (?:день|дня|ден|утр\w+|вечер\w*|вечир|вечор\w*|ноч\w+)|"
        r"(?:день|утр\w+|вечер\w*) добр\w+|всем добра|здравия желаю|алоха|д?драст\w*|вечер в хату|"
        r"как (?:тебя|вас|тя|к вам|к тебе)? ?(?:звать|зовут|зовут-то|обращаться)|как (?:у (?:тебя|"
        r"вас) )?(?:дела|жизнь|настроение)|кто (?:тебя|вас) (?:создал|сделал|придумал|написал)\w*|(?:че|чо|"
        r"ну) как|как жизнь\w*|"
        r"(?:are you|ты|вы) (?:chat ?gpt|gpt|ии|ai))(?!\w)"
    ),
    "farewell": re.compile(
        r"(?<!\w)(?:(?:хорош|добр|приятн|спокойн|прекрасн|удачн|чудесн|отличн|легк|гарн|всего|"
        r"всех)\w*(?: (?:вам|тебе|и|всем|самого|"
        r"хорош\w+|добр\w+|наилучш\w+|прекрасн\w+))* (?:дня|вечера|ночи|выходных|недели|настроени\w+|пути|"
        r"хорошего|доброго|наилучшего|благ)|до (?:скор\w+ )?(?:встреч\w*|свидан\w+|связи|завтра|скорого|"
        r"понедельника)|"
        r"проща(?:й|йте|юсь)|б[уы]вай(?:те)?(?: здоров\w+)?|have an? \w+ (?:day|evening|night|weekend|one))(?!\w)"
    ),
    "thanks": re.compile(
        r"(?<!\w)(?:(?:спасибо|благодар\w+|дякую|дякуемо|спс|пасиб|thanks|thank you|thx)(?: (?:вам|тебе|"
        r"большое|огромное|очень|вас|"
        r"so much|very much|a lot))* (?:за|for)(?: your| the| вашу| ваш| ваше| такую| такой)?(?: \w+(?:ую|ое|"
        r"ый|ий|ие|ые|юю|ick|ful))?"
        r" \w+(?: (?:и|and) \w+)?|от души|понял[аи]? принял[аи]?|добр\w+ (?:человек|люди)|ты мне нравишься|"
        r"вы мне нравитесь)(?!\w)"
    ),
}
#: A compliment is an adjective, with nobody or the company beside it.
_PRAISE = re.compile(
    r"(?:лучш|отличн|прекрасн|замечательн|классн|крут|умн|вежлив|чудесн|шикарн|полезн|хорош|"
    r"супер)(?:[ыоиая][йея]|ые|ие|о)"
    r"|красав\w+|молод\w+|сервис|обслуживание|работа|а+|о+|м+д+а+|э+м*|ух+|эх+|ох+|ах+|умнички?|умница|best|"
    r"amazing|wonderful|brilliant|excellent|fantastic|helpful|clever|smart|lovely|legend"
)


def small_talk(words: list[str]) -> SmallTalk | None:
    """The kind of small talk that normalised words are made of, None where any other word is among them."""
    text = " ".join(words)
    if ARE_YOU_A_BOT.fullmatch(text):
        return "greeting"
    found: list[SmallTalk] = []
    for kind, made_up in _MADE_UP.items():
        text, times = made_up.subn(" ", text)
        found += [kind] * bool(times)
    words = text.split()
    place = 0
    while place < len(words):
        for size in range(min(_LONGEST, len(words) - place), 0, -1):
            phrase = " ".join(words[place : place + size])
            said = _kind(phrase)
            if said or phrase in _FILLERS:
                found += [said] if said else []
                place += size
                break
        else:
            return None
    # Who says goodbye is answered so, whatever came before; else what came first counts.
    return "farewell" if "farewell" in found else found[0] if found else None


def _kind(phrase: str) -> SmallTalk | None:
    if _LAUGHTER.fullmatch(phrase) or _PRAISE.fullmatch(phrase):
        return "thanks"
    return next((name for name, phrases in _KINDS.items() if phrase in phrases), None)
