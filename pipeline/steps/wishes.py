"""The wish for a person: somebody of the staff is called, waited for, or asked for, or the machine is refused.

Texts are words as ``storage.words.normalise`` gives them. Rules are constructions, not sentences: verbs of calling,
nouns for people, and what may stand between. Three kinds of words decide how much may stand there:

* who is told outright to call or connect may be told much else, so long as nobody is called for somebody else;
* "need", "want", "can I" call a person only with small words between: "can I come with a person" does not;
* a question word at the beginning makes it a question, but for "how do I reach", "when will … answer" and the like.
"""

from __future__ import annotations

import re

# Who can be called. ------------------------------------------------------------------------------------------------
_STAFF = (
    r"оператор\w*|менеджер\w*|продав(?:ец|ца|цу|цом)|специалист\w*|консультант\w*|сотрудни\w*|работни\w*|"
    r"поддержк\w*(?! [a-z\d])|пидтримк\w*|саппорт\w*|"
    r"техподдержк\w*|представител\w*|коллег\w*|агент\w*|диспетчер\w*|спец(?:а|у|ом|ов)?|эксперт\w*|модератор\w*|"
    r"начальни\w*|начальств\w*|руководител\w*|руководств\w*|директор\w*|администратор\w*|администраци\w*|"
    r"админ(?:а|у|ом)?|"
    r"супервайзер\w*|управляющ\w+|заведующ\w+|старш\w+(?: смены)?|главн(?:ого|ому|ым|ую)|босс(?:а|у|ом)?|"
    r"шеф(?:а|у|ом)?"
)
_HUMAN = (
    r"человек\w*|человеч\w*|люд(?:и|ей|ям|ьми)|людин\w*|девушк\w+|девочк\w+|парн(?:я|ю|ем)|тет(?:ю|еньку)|дядю|"
    r"ко(?:го|му)[ -](?:нибудь|то)|кем[ -](?:нибудь|то)|кто[ -](?:нибудь|то)|"
    r"кого-небудь|хтось|кимось|т(?:ого|ому|ем|еми) кто|жив\w+ (?:голос|общени)\w*"
)
_PERSON_EN = (
    r"humans?(?: being)?|hooman|person|people|operators?|agents?|reps?|representatives?|managers?|"
    r"supervisors?|boss|"
    r"superiors?|management|whoever|someone|somebody|anyone|anybody|consultants?|employees?|"
    r"staff(?: members?)?|specialists?|"
    r"advis[oe]rs?|assistants?|colleagues?|support(?: agents?| team| staff| person)?|"
    r"tech(?:nical)? support(?: team)?|customer (?:service|support|care)(?: rep\w*| agents?| team)?"
)
_PERSON = rf"(?:{_STAFF}|{_HUMAN}|{_PERSON_EN})"
#: Where people are: one is put through to these, but does not need or want them.
_PLACE = (
    r"(?:отдел\w*|бухгалтери\w*|служб\w*|департамент\w*|(?:колл|контакт)-?центр\w*|офис\w*|лини[юией]|"
    r"регистратур\w+|"
    r"ресепшен\w*|диспетчерск\w+|дирекци\w*|врач\w*|доктор\w*|бухгалтер\w*|юрист\w*|хозяин\w*|владельц\w*|"
    r"billing|sales|accounting|(?:[\w-]+ ){0,2}(?:team|department|office|desk))"
)
_ALIVE = (
    r"(?:жив[ауи]|жив[ыоуаи][йгмхюея]\w{0,2}|(?:реальн|настоящ|нормальн|адекватн|вменяем|толков|компетентн|"
    r"грамотн|обычн)"
    r"[ыоуаеи][йгмхюея]\w{0,2}|real|live|living|actual|proper|human|alive|competent)"
)
_MACHINE = (
    r"(?:(?:чат-?)?бот(?:а|у|ом|е|ы|ов|ам|ами|ик\w*)?|робот(?:а|у|ом|е|ы|ов|ам|ами)?|автоответчик\w*|"
    r"автомат(?:а|ом|у)?|"
    r"машин(?:ой|а|у)|программ(?:ой|а)(?! \w)|нейро(?:сет|нк)\w+|искусственн\w+ интеллект\w*|ии|желез(?:як|"
    r"к)\w+|жестянк\w+|"
    r"(?:chat|чат)? ?gpt|(?:chat)?bots?|robots?|machines?|ai)"
    # A robot that cleans is a product.
    r"(?![\w-])(?! (?:vacuum|mop|cleaner|mower|пылесос|мойщик|стиральн|посудомо))"
)

# What may stand between. -------------------------------------------------------------------------------------------
_SMALL = (
    r"(?:мне|меня|мной|нам|нас|бы|б|ли|же|ж|ка|ну|уже|просто|пожалуйста|плиз|плз|пж|срочно|тут|здесь|там|"
    r"сейчас|наконец|"
    r"наконец-то|только|хоть|лучше|именно|опять|снова|еще|вы|ты|вас|ваш\w*|с|со|к|на|у|от|из|какого-нибудь|"
    r"какой-нибудь|люб\w+|друг(?:ого|им|ому|ую|ой)|сюда|вот|это|самого|быстро|быстрее|и|а|помощь|помощи|"
    r"консультаци\w+|ответ|ответа|участие|звонок|звонка|контакт\w*|дозваться|услышать|увидеть|связ[аьи]\w*|сегодня|завтра|"
    r"соединиться|"
    r"вызвать|позвать|переключиться|выйти|ответит\w*|за|голосом|лично|напрямую|the|an?|your|some|any|me|to|"
    r"with|one of|another|different|please|pls|just|now|"
    rf"speak|talk|chat|from|in|at|of|2|plz|з|зи|до|{_ALIVE})"
)
_SPEAK = (
    r"(?:(?:по|пере)?говорит[ьи]?|(?:по)?разговаривать|переговорить|(?:по)?общаться|общени[еяю]|"
    r"(?:по)?толковать|(?:по)?болтать|(?:по)?спилкуватися|поговорити|"
    r"побеседовать|посоветоваться|обсудить|решить|объясниться|пообщаюсь|говорю)"
)
_SMALLS = rf"(?:(?:{_SMALL}|{_SPEAK}) ){{0,5}}"


def _gap(most: int) -> str:
    """A blank, or at most so many words between blanks."""
    return rf"(?: [\w'-]+){{0,{most}}}? "


# Calling. ----------------------------------------------------------------------------------------------------------
#: Told to call or to put through.
_CONNECT = (
    r"(?:(?:поза|под|до|вы)?зови(?:те)?|позови\w*|позовет\w*|позвать|позвит[ье]|звать|дозов\w+|вызыва\w+|"
    r"соедин(?:и|ите|яй|яйте|ить|ишь|ят|яют|яете|ени[ея] с)|з'еднай\w*|зъеднай\w*|зв'яж\w+|переключ(?:и|ите|"
    r"ай|айте|ить|ишь|ат|аете)|"
    r"подключ(?:и|ите|ай|айте|ить|ишь|ат|ится)|переведи(?:те)?|перевод(?:и|ите)|перевести|перекин\w+|перебрось\w*|"
    r"свяжи(?:те)?|связать|связывай\w*|пригласи(?:те)?|пригласить|поклич\w+|клич\w*|кликни\w*|выведи(?:те)?|"
    r"переда(?:й|йте|ть) (?:меня|диалог|чат|вопрос|обращение|разговор|запрос)|переадрес\w+|перенаправ\w+|направьте|"
    r"(?:connect|transfer|switch|put|pass|hand|forward|redirect|route|patch|refer) (?:me|us)(?: over| off|"
    r" through)?|"
    r"hand ?(?:off|over)|be (?:connected|transferred))"
)
#: Given, needed or wanted.
_WANT = (
    r"(?:дай(?:те)?|давай(?:те)?|дадите|верни(?:те)?|нуж(?:ен|на|но|ны)(?! ли)|надо(?! ли)|треба|потрибен|потрибна|"
    r"необходим\w?|хочу|хотим|хотел\w*|хочется|хотелось|желаю|прошу|попрошу|требую|требуется|можно|можете|могу|"
    r"жду|ждем|ждать|дождаться|дождусь|"
    r"get|give|need|want|wanna|demand|see|like|bring|let me have|request|reach|find|wait(?:ing)? for|"
    r"wait(?:ing)? on|waited for)"
)
_REPLY = (
    r"(?:ответь\w*|ответ(?:ит|ят)|отзов\w+|отзовитесь|откликн\w+|помо(?:жет|гите)|подойд\w+|подключится|появится|"
    r"освободится|выйдет|свяжется|перезвонит|позвонит)"
)
_AFTER = rf"(?:{_CONNECT}|{_WANT}|{_REPLY}|сюда|на (?:связь|линию|провод)|ау|где|{_SPEAK}|please|pls|now)"

_CALLED = re.compile(
    rf"(?<!\w)(?:{_CONNECT}{_gap(4)}(?:{_PERSON}|{_PLACE})"
    rf"|(?:{_WANT}|{_SPEAK}|{_REPLY}) {_SMALLS}{_PERSON}"
    rf"|(?:пусть|хай|чтоб|чтобы|эй|ало|алло|але|перевод на|перевод к){_gap(4)}{_PERSON}"
    rf"|(?:{_STAFF}|{_HUMAN}) {_SMALLS}{_AFTER}|(?:{_PERSON_EN}) (?:please|pls|now)|{_PLACE} {_CONNECT}"
    rf"|(?:жалоб\w+|жаловаться|пожаловаться){_gap(3)}(?:начальству|руководству|директору|руководителю|"
    rf"управляющему|старшему)"
    rf"|(?:complain|complaint) (?:[\w'-]+ ){{0,3}}?(?:to|with) (?:an? |the |your )?(?:{_PERSON_EN})"
    rf"|не отвеча\w+ (?:{_STAFF})|освободи\w+ (?:{_STAFF})|(?:put|send) an? (?:human|person)"
    rf"|(?:can|could|may|will|would|let|have|is) (?:(?:an?|any|the|your) )?(?:{_ALIVE} )?(?:human|person|"
    rf"agent|operator|rep|"
    r"representative|manager|supervisor) (?:please |going to |gonna |be able to ){0,5}(?:answer|help|reply|"
    r"respond|take|assist|join|look|contact|call|step|deal)"
    r"|help from (?:an? )?(?:human|person)|(?:talk|speak|chat|transfer|connect|switch) (?:to|with|с|со|"
    r"на) (?:humans?|agents?|"
    rf"operators?|reps?|representatives?|managers?|support|{_STAFF})|(?:звонок|звонка) (?:от )?{_PERSON})(?!\w)"
    rf"|(?<!\w)(?:{_CONNECT}|{_WANT}) {_SMALLS}жив(?:ого|ому|ым|ых|ыми|ую)$"
    rf"|(?<!\w){_ALIVE} {_PERSON}(?!\w)|(?<!\w){_PERSON} {_ALIVE}(?!\w)"
    r"|(?<!\w)(?:human|live) (?:help|support|assistance|chat)(?!\w)"
)
#: Told outright to call somebody, or that one wants to speak to somebody: then it does not matter what else is said.
_OUTRIGHT = re.compile(
    rf"(?<!\w)(?:{_CONNECT}{_gap(3)}|(?:дай(?:те)?|хочу|хотел[аи]?|хотелось|прошу|требую|нуж(?:ен|на)(?! ли)|"
    rf"можно) {_SMALLS}|"
    rf"(?:жду|ждем|ждать|дождаться|добиться|дозваться) {_SMALLS}|"
    rf"{_SPEAK} {_SMALLS})(?:{_ALIVE} )?(?:{_STAFF}|человек\w*|люд(?:ей|ьми|ям))(?!\w)"
    rf"|(?<!\w)(?:нуж\w+|хочу|можно|надо){_gap(4)}жив(?:ой|ого|ому|ым) (?:{_STAFF}|человек\w*)(?!\w)"
    rf"|(?<!\w){_CONNECT}{_gap(2)}(?:отдел\w*|бухгалтери\w*|служб\w*|департамент\w*|(?:колл|"
    rf"контакт)-?центр\w*|регистратур\w+)(?!\w)"
    rf"|(?<!\w)(?:talk|speak|chat|{_CONNECT}) (?:directly )?(?:to|with|2) (?:(?:an?|the|your|some|one of|"
    rf"another|in) ){{0,5}}"
    rf"(?:{_ALIVE} ){{0,5}}(?:{_PERSON_EN})(?!\w)"
)
_ONLY_PERSON = re.compile(
    r"(?:(?:ало|алло|але|алиса|эй|ау|ну|нет|только|просто|лучше|опять|тогда|hey|hello|hi|привет|здравствуйте|"
    r"добрый|день|"
    rf"{_SMALL}) ){{0,5}}(?:{_PERSON}|жив(?:ого|ую|ых))"
    rf"(?: (?:эй|ало|алло|скорее|а не|{_SMALL}|{_MACHINE}|{_PERSON})){{0,5}}"
)

# A person without being named. -------------------------------------------------------------------------------------
#: Put through, to whoever it is: the machine has been named, or nothing else is said.
_SWITCH = re.compile(
    rf"(?:(?:{_SMALL}|давай|все|ладно|i|we|want|need|would|like|can|could|you) ){{0,5}}(?:переключ(?:и|ите|"
    rf"ай|айте)|соедин(?:и|ите|яй|яйте)|escalate)"
    rf"(?: (?:{_SMALL}|this|it|higher|up|my (?:case|issue|problem|complaint)|{_PERSON})){{0,5}}"
    rf"|.*(?<!\w){_MACHINE}(?: [\w'-]+){{1,6}} (?:переключ(?:и|ите|ай|айте)|соедин(?:и|ите|яй|"
    rf"яйте))(?: {_SMALL}){{0,5}}"
)
_WHO_IS_THERE = re.compile(
    rf"(?:[\w'-]+ ){{0,4}}?(?:кто|кто-нибудь|кто-то|хтось|хто|люди)(?: (?:нибудь|то|{_SMALL}|есть|работает|"
    rf"отвечает|сидит)){{0,5}} "
    rf"(?:кроме|помимо|{_ALIVE})(?!\w)"
    rf"|(?:[\w'-]+ ){{0,2}}?(?:any ?(?:one|body)|someone|somebody|any humans?|any people|an? human|an? person)"
    rf"(?: (?:there|here|at all|out there)){{0,5}}(?: (?:{_ALIVE}|who|that|at all)(?!\w)|"
    rf" there$)(?<!anyone there)(?<!anybody there)"
    rf"|(?:(?:{_SMALL}|вообще|ало|алло|у нас|чате|в|есть) ){{0,5}}(?:люди|человек|операторы?|менеджеры?|"
    rf"кто живой|живые)"
    r"(?: (?:тут|здесь|вообще|у вас|есть|в|чате|на связи|на месте|работают|работает|остались))+$"
    rf"|(?:есть|остал[аио]?с[ья]?)(?: {_SMALL}){{0,5}} (?:линии|связи|месте|чате|онлайн|"
    rf"свободн\w+) (?:{_STAFF}|{_HUMAN})(?!\w)"
    rf"|(?:[\w'-]+ ){{0,2}}(?:{_STAFF}) (?:молч\w+|(?:не|никто не) (?:отвеча|выход|"
    rf"подключа)\w+)(?: (?:{_SMALL}|где)){{0,5}}$"
    rf"|(?:(?:{_SMALL}|кто|кто-нибудь|есть|ну) )+(?:ответьте|отзовитесь|откликнитесь)$"
    r"|(?:[\w'-]+ ){0,3}?(?:person|human|someone|anyone|somebody|anybody|agent) (?:that |who )?(?:i|"
    r"we) (?:can|could) (?:talk|speak|chat)"
    rf"|(?:{_STAFF}|{_HUMAN})(?: {_SMALL}| есть){{0,5}} (?:линии|связи|месте|чате|онлайн)$"
    r"|(?:а |и )?кто (?:у вас |тут |здесь |там )+(?:за )?(?:главн|старш|начальни|руководит|директор)\w*(?!\w)"
    r"|(?:is|are) (?:any ?one|any ?body)(?: \w+)? (?:reading|listening|answering|responding|working)"
    r"|(?:[\w'-]+ ){0,5}?(?:any|some) (?:humans?|people|person|staff|agents?|reps?) (?:here|around|available|"
    r"online|there)$"
    rf"|(?:(?:{_SMALL}|есть) ){{0,5}}кто(?:-| )(?:нибудь|то) из {_PERSON}"
    rf"|(?:ну |а |и )?г?де (?:тут |здесь |у вас |все |вообще |же |ваш\w* |жив\w+ ){{0,5}}(?:люди|человек|"
    rf"{_STAFF})(?!\w)"
    rf"|(?:so |and |hey )?where(?: is| are|'s) (?:(?:the|your|my|all|every|"
    rf"a) ){{0,5}}(?:{_ALIVE} )?(?:{_PERSON_EN}|everyone|everybody)"
    r"(?: (?:please|now)){0,5}$"
)
_WITH_WHOM = re.compile(
    rf"(?<!\w)с кем (?:(?:я|мы|могу|можем|можно|можна|нужно|стоит|надо|{_SMALL}|нормально|лично|"
    rf"вообще) ){{0,5}}{_SPEAK}"
    r"|(?<!\w)who (?:can|do|could|should|may) (?:i|we) (?:please )?(?:talk|speak|chat|complain|escalate|turn)(?!\w)"
)
#: The few questions that a wish for a person begins with.
_HOW = re.compile(
    r"(?:[\w'-]+ ){0,6}?"
    rf"(?:как (?:(?:я|могу|{_SMALL}|к|до) ){{0,5}}(?:позвать|вызвать|соединиться|переключиться|связаться|"
    rf"дозваться|достучаться|"
    rf"добраться|попасть|выйти|{_SPEAK}) {_SMALLS}(?:жив\w+|оператор\w*|человек\w*|людьми|людей|менеджер\w*|"
    rf"{_ALIVE} {_PERSON})"
    rf"|(?:почему|зачем|чего)(?: [\w'-]+){{0,3}}? (?:не (?:перевод|переключ|соедин|подключ|"
    rf"зов[еу])\w+{_gap(2)}{_PERSON}|"
    rf"(?:отвечает|пишет|отвечают|говорю){_gap(2)}{_MACHINE}|не отвеча\w+ {_PERSON})"
    rf"|(?:сколько|долго|когда)(?: (?:{_SMALL}|можно|ли|мы|я|придется)){{0,5}} (?:ждать|дождусь|дозваться|"
    rf"{_REPLY}) {_SMALLS}{_PERSON}"
    rf"|(?:сколько|когда)(?: {_SMALL}){{0,5}} {_PERSON} {_SMALLS}{_REPLY}"
    rf"|how (?:do|can|could|to|would)(?: (?:i|we|you))? (?:reach|talk|speak|chat|contact|connect|get|find|hear)"
    rf"(?: (?:to|with|from|hold of|through|in touch)){{0,5}} (?:an? |the |your ){{0,5}}(?:{_ALIVE} ){{0,5}}"
    r"(?:humans?|person|agent|operator|representative)(?!\w)"
    rf"|(?:how long|when)(?: [\w'-]+){{0,3}}? (?:{_PERSON_EN}) (?:answers?|repl\w+|responds?|joins?|comes?|"
    rf"is available)"
    rf"|what(?: [\w'-]+){{1,7}} (?:get|reach|talk to|speak to|speak with) (?:an? |"
    rf"the ){{0,5}}(?:{_ALIVE} ){{0,5}}(?:human|person|agent|operator)(?!\w)"
    rf"|why (?:can't|cannot|won't|don't|am i)(?: [\w'-]+){{0,5}} (?:{_PERSON_EN}|{_MACHINE})(?!\w))"
)
_TO_ME = r"(?:мне|меня|нам|нас|со мной|с нами)"
_CALL_BACK = re.compile(
    rf"(?:[\w'-]+ ){{0,6}}?(?:перезвони|позвони|набери|свяжись|перезвоните|позвоните|наберите|свяжитесь|"
    rf"передзвон\w+|зателефонуйте)"
    rf"(?: (?:{_TO_ME}|{_SMALL})){{0,5}}(?: (?:по|на) (?:мо\w+|этот|этому|указанн\w+|номеру?|телефону?|"
    rf"\d[\d-]*)| {_TO_ME}(?!\w)|$)"
    rf"|(?:[\w'-]+ ){{0,6}}?(?:перезвон|позвон|набер|свяж|связ)\w+(?: (?:{_TO_ME}|по телефону|скорее|прямо|"
    rf"{_SMALL})){{0,5}} {_TO_ME}$"
    rf"|(?:[\w'-]+ ){{0,6}}?(?:можете|могли|сможете|можно|просьба|прошу|хочу|пусть|пускай|"
    rf"чтобы)(?: (?:{_SMALL}|{_TO_ME}|{_PERSON})){{0,5}}"
    rf" (?:(?:пере|по)звон\w+|набрать|связаться|связал\w*|свяж[еу]т\w*)(?: {_TO_ME}| (?:на|по) (?:мо\w+|"
    rf"номер\w*)| (?!(?:в|на|до|с|к|из|ли|после) )|$)"
    r"|(?:закажите|закажи|сделайте|оформите|нужен|хочу|прошу|можно)(?: (?:мне|пожалуйста|заказать|"
    r"на)){0,5} обратн\w+ звон\w+|обратн\w+ звон\w+ (?:закажи|сделай|оформи|нужен|можно)"
    r"|(?:please |pls |just ){0,5}(?:call|phone|ring|contact) me(?: (?:back|please|now|asap|on|at|by|phone|"
    r"\d+)){0,5}$"
    rf"|(?:[\w'-]+ ){{0,3}}?(?:can|could|would|will|have|let|get)(?: (?:you|the|an?|your|{_PERSON_EN}|please))+ "
    r"(?:call|phone|ring|contact)(?: to call)? (?:me|us)(?!\w)"
    rf"|(?:{_PERSON_EN}){_gap(4)}(?:call|phone|ring|contact) (?:me|us)(?!\w)"
    rf"|(?:[\w'-]+ ){{0,4}}?(?:give me|get|want|need|request|like|have) (?:an? )?(?:phone )?call(?:back| back)?"
    rf"(?: (?:please|asap|now|(?:from|with) (?:an? |the |your )?(?:team|{_PERSON_EN}))){{0,5}}$"
)
#: A call at some moment or on some event is part of a service.
_WHEN = re.compile(
    r"(?<!\w)(?:курьер\w*|водител\w*|мастер\w*|заранее|не (?:перезвон|позвон|звон)\w+|когда|если|как|где|"
    r"перед|за час|за полчаса|за \d+|до|после|при|почему|зачем|кто|куда|"
    r"when|if|before|after|once|until|how|why)(?![\w-])"
)

# The machine is refused. -------------------------------------------------------------------------------------------
_NO_MACHINE = re.compile(
    r"(?<!\w)(?:(?:не (?:хочу|буду|желаю|надо|нужен|нужно|собираюсь|могу|намерен\w?)|хватит|достал\w*|"
    r"надоел\w*|устал\w*|"
    r"перестан\w+|прекра(?:ти|щай)\w*|не (?:отвечай|пиши|присылай|шли)(?:те)?|отказываюсь|refuse|won't|"
    r"not going to|"
    r"сколько можно|задолбал\w*|заеб\w*|бес(?:ит|ят)|ненавижу|отключи(?:те)?|выключи(?:те)?|убери\w*|кроме|"
    r"вместо|а не|"
    r"tired of|sick of|fed up with|stop|quit|enough|hate|don't want|do not want|not want|no more|instead of|"
    r"rather than|"
    rf"done with|besides)(?: [\w'-]+){{0,4}}? (?:{_MACHINE}|шаблон\w*|автоответ\w*|автоматическ\w+ (?:ответ|"
    rf"сообщени)\w*|копипаст\w*|отписк\w*|скрипт\w*|"
    r"(?:automated|automatic|auto|canned|scripted|template|generic|copy-?paste\w*)[ -]?(?:repl\w+|respon\w+|"
    r"answers?|messages?|texts?)|templates?)"
    rf"|{_MACHINE} (?:[\w'-]+ ){{0,3}}?(?:бесполез\w*|туп\w*|глуп\w*|не (?:пон[яи]\w*|помо\w*|справ\w*|"
    rf"реш\w*|въезжа\w*|"
    r"разбира\w*|отвеча\w* на вопрос\w*)|отстань\w*|отвали\w*|уйди\w*|достал\w*|надоел\w*|задолбал\w*|"
    r"бес(?:ит|ят)|useless|"
    r"stupid|dumb|go away|can't|cannot|doesn't help|doesn't understand|isn't help\w*|not help\w*|won't help)"
    rf"|(?:туп|бесполезн|дурацк|глуп|useless|stupid|dumb)\w* {_MACHINE}"
    rf"|(?:с|со|от) {_MACHINE}(?: [\w'-]+){{0,2}} не (?:буду|хочу|желаю|могу|собираюсь|намерен\w?|говорю|"
    rf"разговариваю|общаюсь)"
    rf"|{_MACHINE} (?:убери|отключи|выключи)\w*|^no {_MACHINE}"
    rf"|(?:можно |давайте |а |только ){{0,5}}не (?:с )?{_MACHINE}$|(?<!\w)без {_MACHINE}$|not (?:an? |"
    rf"with an? |to an? )?{_MACHINE}(?!\w))"
    rf"|^(?:ты|вы|you|you're|you are|u)(?: (?:все|просто|очень|такой|so|just|really|are)){{0,5}} "
    r"(?:туп\w+|бесполезн\w+|глуп\w+|не (?:помогаешь|помогаете|помог|помогли|понимаешь|понимаете)|useless|"
    r"stupid|dumb|"
    r"not helping|don't understand|don't help)(?: (?:меня|мне|вопрос|ничего|me|at all)){0,5}$"
)
#: The customer's own bot, and how it is set up, is what some companies sell.
_OWN_MACHINE = re.compile(
    rf"(?<!\w)(?:мо[йеяию]\w*|наш\w*|сво\w+|my|our|slack|telegram|телеграм\w*|crm) (?:[\w-]+ )?{_MACHINE}"
    rf"|{_MACHINE} (?:on|in|at|for|на|в|для) (?:my|our|мо\w+|наш\w+|сайте|crm)(?!\w)"
    r"|(?<!\w)(?:настро\w+|settings?|configure|build|create|создать|connect my)(?!\w)"
)

#: Asked of the machine; by itself this is small talk.
ARE_YOU_A_BOT = re.compile(
    rf"^(?:(?:а|ну|алло|привет|здравствуйте|hi|hello|so|wait) ){{0,5}}(?:(?:это|ты|вы|я (?:говорю|общаюсь) с|"
    rf"are you|is this|am i "
    rf"(?:talking|speaking|chatting) (?:to|with)) (?:a |an |the |or |или |не |вообще |точно |{_ALIVE} |"
    rf"{_MACHINE} ){{0,6}}"
    rf"(?:{_ALIVE}|{_MACHINE}|человек\w*|люди|human|person|operator|оператор\w*)|"
    rf"(?:я )?с (?:{_ALIVE} )?(?:{_MACHINE}|человеком|людьми) (?:говорю|общаюсь|разговариваю|переписываюсь))(?!\w)"
)

# What only sounds like it. -----------------------------------------------------------------------------------------
_QUESTION = re.compile(
    r"(?:(?:здравствуйте|привет|добрый день|подскажите|скажите|а|и|ну|hi|hello|please|so|well) ){0,5}"
    r"(?:как(?! (?:же )?(?:достал|надоел|задолбал|бес))|где|почему|зачем|когда|сколько(?! можно)|"
    r"кто(?![ -](?:нибудь|то))|кому|чем|"
    r"можно ли|how|what|who|why|when|where|do i|does|find out)(?!\w)"
    r"|.*(?<!\w)(?:(?:are|is|r) (?:you|this|it(?! possible)|u)|(?:you|this|it) (?:are|is))(?!\w)|"
    r".*(?<!\w)am i (?:speak|talk|chat)|.*(?<!\w)(?:be|like) an? \w+"
)
#: ... about somebody for somebody else, or through whom something is done.
_NOT_OUTRIGHT = re.compile(
    rf"(?<!\w)(?:через|другого человек\w*|другому|другим|за меня|вместо(?! {_MACHINE})|вместе|по телефону|"
    rf"сам(?:ого|ому)?|на дом|в магазине|"
    r"заказать|забрать|получить|оформить|купить|передать|мастер\w*|курьер\w*|установ\w*|сборк\w*|ремонт\w*|"
    r"приход\w*|"
    r"приед\w*|подпис\w*|с (?:доставк|посылк|товар)\w+|деньг\w*|средств\w*|сумм\w*|на карту|на счет|счет|к какому|"
    r"какой|какого|для|в проект\w*|в команд\w*|оператор\w* (?:связи|сотов\w+|мобильн\w+)|"
    r"(?:сотов|мобильн|почтов)\w+ оператор\w*|другого оператор\w*)(?!\w)"
)
#: Words of a message that calls outright.
_OUTRIGHT_WORDS = 30
#: Beyond this many words the message says more than "give me a person".
_HUMAN_WORDS = 12
#: A person named together with these is a question about orders, jobs or the like.
_ASKS = re.compile(
    r"(?<!\w)(?:заказ\w*|оформ\w*|купить|покуп\w*|доставк\w*|курьер\w*|цена|стоит|сколько|гаранти\w*|"
    r"возврат\w*|верн(?!ите)\w*|"
    r"товар\w*|магазин\w*|ваканси\w*|работу|зарплат\w*|тариф\w*|услуг\w*|график\w*|телефон\w*|номер\w*|"
    r"адрес\w*|деньги|оплат\w*|ремонт\w*|"
    r"мастер\w*|установ\w*|почт\w*|деньг\w*|скидк\w*|комисси\w*|install|money|mail|order|delivery|refund|"
    r"price|return|job|"
    r"hiring|hours|phone|number|address|account|card|pay\w*)(?!\w)"
)


def asks_for_person(words: str) -> bool:
    """Whether a text of normalised words asks for a person, and for little else unless it does so outright."""
    words = ARE_YOU_A_BOT.sub("", words).strip()
    length = len(words.split())
    if length > _OUTRIGHT_WORDS:
        return False
    question, excused = _QUESTION.match(words), _NOT_OUTRIGHT.search(words)
    if _OUTRIGHT.search(words) and not question and not excused:
        return True
    if length > _HUMAN_WORDS:
        return False
    if _CALL_BACK.match(words) and not _WHEN.search(words):
        return True
    if _HOW.match(words) or _WHO_IS_THERE.match(words):
        return not excused
    if _ASKS.search(words):
        return False
    if _WITH_WHOM.search(words):
        return True
    if question or excused:
        return False
    return bool(
        _ONLY_PERSON.fullmatch(words)
        or _SWITCH.fullmatch(words)
        or _CALLED.search(words)
        or (_NO_MACHINE.search(words) and not _OWN_MACHINE.search(words))
    )


def calls_by_name(words: str, last: str) -> bool:
    """Whether a text ends with a sentence that only names a person: "That is no answer. Operator!"."""
    return bool(_ONLY_PERSON.fullmatch(last)) and len(words.split()) <= _HUMAN_WORDS and not _ASKS.search(words)
