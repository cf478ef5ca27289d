"""Who somebody is and where they live: names, dates of birth, postal addresses, car plates.

Names and addresses have no fixed form. What is recognised are the forms people introduce themselves and order in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pipeline.masking.given_names import GIVEN
from pipeline.masking.spans import Found
from pipeline.masking.topics import is_order, topic_of

_MONTH = (
    r"(?:январ|феврал|март|апрел|ма[йя]|июн|июл|август|сентябр|октябр|ноябр|декабр)[а-я]*|"
    r"(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)[a-z]*"
)
#: A day, or a month: which comes first depends on the country.
_DAY = r"(?:[12]\d|3[01]|0?[1-9])"
_DATE = re.compile(
    rf"(?<![\w.])(?:{_DAY}\s?[./\-]\s?{_DAY}\s?[./\-]\s?(?:\d{{4}}|\d\d)|\d{{4}}[./\-]\d{{1,2}}[./\-]\d{{1,2}}|"
    rf"{_DAY}(?:st|nd|rd|th|-?го|-?ого)?[\s\-](?:of\s)?(?:{_MONTH})\.?,?[\s\-](?:\d{{4}}|\d\d)(?:\sг\.(?!\s?р))?|"
    rf"(?:{_MONTH})\.?\s{_DAY}(?:st|nd|rd|th)?,?\s\d{{4}})(?!\w)",
    re.IGNORECASE,
)
_COUNT = (
    r"(?:перв|втор|трет|четв[её]рт|пят|шест|седьм|восьм|девят|десят|сорок|девянос|два|три|четыре|сем|восем|"
    r"(?:один|две|три|четыр|пят|шест|сем|восем|девят)надцат|двадцат|тридцат|тысяч)[а-яё]*"
)
_EN_COUNT = (
    r"(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|thousand|"
    r"(?:thir|four|fif|six|seven|eigh|nine)teen(?:th)?|(?:twen|thir|for|fif|six|seven|eigh|nine)t(?:y|ieth)|"
    r"one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|oh|and)"
)
#: A date as it is said; the year may have been written in figures.
_SAID_DATE = re.compile(
    rf"(?<!\w)(?:(?:{_COUNT}\s){{1,2}}(?:{_MONTH})(?:\s(?:{_COUNT}|\d{{2,4}}(?!\d))){{1,6}}(?:\sгода)?|"
    rf"(?:the\s)?(?:{_EN_COUNT}[\s\-]){{1,2}}(?:of\s)?(?:{_MONTH})(?:,?[\s\-](?:{_EN_COUNT}|\d{{4}})){{1,5}}|"
    rf"(?:{_MONTH})\s(?:the\s)?{_EN_COUNT}(?:,?[\s\-](?:{_EN_COUNT}|\d{{4}})){{1,6}})(?!\w)",
    re.IGNORECASE,
)
#: Ends right before the date: another number between them would be what the words are about.
_BORN = re.compile(
    r"(?<!\w)(?:рожд[её]н\w*|рождени\w*|родил\w*|д[./]?\s?р\.?|дата рожд\w*\.?|born|"
    r"birth\s?(?:day|date)?|dob|d\.o\.b)(?!\w)[^\d;\n]{0,32}\Z",
    re.IGNORECASE,
)
#: Looked for first: few texts have it.
_BIRTH = re.compile(r"ро[жд]|д[./]?\s?р(?!\w)|born|birth|dob", re.IGNORECASE)
_OF_BIRTH = re.compile(
    r"\s?(?:г(?:ода|\.)?)?[\s,]*(?:\(?(?:мо[яй]\s)?(?:г\.\s?р|р\.|рождения|д\.\s?р|др(?!\w)|дата рожд)|"
    r"г\.р|(?:is|это)\s(?:my|мой|моя)\s"
    r"(?:birth|dob|дата рожд|день рожд))",
    re.IGNORECASE,
)
_PLATE = re.compile(
    r"(?<!\w)(?:[АВЕКМНОРСТУХABEKMHOPCTYX]\s?\d{3}\s?[АВЕКМНОРСТУХABEKMHOPCTYX]{2}\s?\d{2,3}|"
    r"[АВЕКМНОРСТУХABEKMHOPCTYX]{2}\s?\d{3}\s?\d{2,3}|[АВЕКМНОРСТУХABEKMHOPCTYX]{2}\s?\d{4}\s?\d{2,3})(?:\s?(?:RUS|rus))?(?!\w)",
    re.IGNORECASE,
)
_FOREIGN_PLATE = re.compile(
    r"(?<!\w)(?:[A-Z]{2}\d{2}\s?[A-Z]{3}|[A-Z]{1,3}[\s\-]\d{3,4}[\s\-]?[A-Z]{0,2}|\d[A-Z]{3}\d{3}|"
    r"\d{3}\s?[A-Z]{2,3}\s?\d{2})(?!\w)"
)

_CAP = r"[А-ЯЁ][а-яё]+(?:-[А-ЯЁа-яё]+)*"
_PATRONYMIC = r"[А-ЯЁ][а-яё]+(?:вич|вича|вичу|вичем|виче|вна|вны|вне|вну|вной|ична|ичны|ичне|ичну|ичной|ьич|ьича|ьичу)"
_NAMES = (
    re.compile(rf"(?<!\w)(?:{_CAP}\s+)?{_CAP}\s+{_PATRONYMIC}(?:\s+{_CAP})?(?!\w)"),
    re.compile(rf"(?<!\w){_CAP}\s+[А-ЯЁ]\.\s?[А-ЯЁ]\.(?!\w)"),
    re.compile(rf"(?<!\w)[А-ЯЁ]\.\s?[А-ЯЁ]\.\s?{_CAP}(?!\w)"),
    # as a summary of the conversation calls them
    re.compile(
        r"(?<!\w)(?i:customer|client|buyer|клиент\w{0,3}|покупател\w{0,3})\s"
        r"(?P<value>(?!(?:Service|Support|Care|Relations)\b)"
        rf"(?:[A-Z][a-z]+|{_CAP})\s(?:[A-Z][a-z’']+(?:[A-Z][a-z]+)?|{_CAP}))(?!\w)"
    ),
    re.compile(r"(?<!\w)(?:Mr|Mrs|Ms|Miss|Dr)\.?\s+[A-Z][a-z]+(?:[\s\-][A-Z][a-z]+)?(?!\w)"),
)
_SURNAME_END = r"(?:ов|ев|ёв|ин|ын|ий|ой|ко|ук|юк|ова|ева|ёва|ина|ына|ая|ян|дзе|швили|уллин|ич)(?:а|у|ой|ым|ому)?"
_SHORT_SURNAME = r"Ли|Ким|Пак|Цой|Тен|Хан|Шин|Цай"
_CASE = r"(?:а|у|ом|е|ы|и|ой|ей|ю|я|ем)?"
_GIVEN = rf"(?:{'|'.join(sorted(GIVEN, key=len, reverse=True))}){_CASE}"
#: A given name beside a word that may be a surname; in small letters only with a patronymic, which has these in it.
_FULL_NAMES = (
    re.compile(rf"(?<!\w)(?-i:(?=[А-ЯЁ]))(?i:{_GIVEN})[^\S\n]{_CAP}(?!\w)"),
    re.compile(rf"(?<!\w)(?:[А-ЯЁ][а-яё\-]*{_SURNAME_END}|{_SHORT_SURNAME})[^\S\n](?=[А-ЯЁ])(?i:{_GIVEN})(?!\w)"),
)
_SMALL_NAME = re.compile(
    rf"(?<!\w)(?:[а-яё]+{_SURNAME_END}\s)?{_GIVEN}"
    r"\s[а-яё]+(?:ович|евич|ьич|овн|евн|иничн|ичн)(?:а|у|ем|е|ы|ой)?(?!\w)",
    re.IGNORECASE,
)
#: What the engine itself writes for a contact that a customer sends.
_CONTACT = re.compile(r"(?m)^(?:\w{1,12}: )?(?:Контакт|Contact): (?!\+?\d)(?P<value>[^\n,]{1,200})")
_HOLDER = re.compile(
    r"(?<!\w)(?i:держател[ья]|cardholder|card holder|holder)\W{1,3}(?P<value>[A-Z]{2,20}\s[A-Z]{2,20})(?!\w)"
)
_CALLED = re.compile(
    r"(?<!\w)(?:(?i:меня зовут|зовут меня|мо[её] имя|фио|ф\.и\.о\.?|фамилия(?:,? имя)?(?:,? отчество)?|имя|"
    r"получател[ья]|контактное лицо|на имя|на фамилию|с уважением|отправитель|владелец(?: карты)?|пациент|"
    r"my name is|name(?:d)?|full name|surname|last name|first name|recipient|cardholder|card holder|passenger|guest|"
    r"under the name(?: of)?|(?:best |kind |warm )?regards|"
    r"(?:many )?thanks(?=,\s*\n)|thank you(?=,\s*\n)|sincerely|cheers|this is|i am|i'm|it's))"
    r"\s*[:,\-–—=]?\s*(?P<value>(?:[А-ЯЁA-Z][а-яёa-zA-Z'’\-]+)(?:\s+(?:[А-ЯЁA-Z][а-яёa-zA-Z'’\-]*\.?)){0,2})"
)
_CALLED_LOWER = re.compile(
    r"(?<!\w)(?:меня зовут|my name is|фио:)\s+"
    r"(?P<value>[а-яёa-z\-]{2,20}(?:\s+[а-яё]+(?:вич|вна|ова|ев|ов|ева|ин|ина)){0,2})",
    re.I,
)
_I_AM = re.compile(r"(?<!\w)[Яя]\s(?P<value>[А-ЯЁ][а-яё]{2,}(?:\s[А-ЯЁ][а-яё]+)?)(?=[,.!;]|\sиз\s)")
_NO_NAME = frozenset(
    {"the", "a", "an", "this", "that", "is", "sorry", "not", "very", "looking", "interested", "writing", "trying"}
    | {"still", "here", "there", "happy", "ready", "sure", "your", "our", "from", "order", "email", "phone", "russian"}
    | {"english", "going", "мой", "моя", "ваш", "ваша", "вам", "вас", "вы"}
    | {"не", "нет", "да", "заказ"}
)

_STREET = (
    r"(?:ул(?:ица|ице|ицу|ицы)?|пр(?:-?к?т|оспект|оспекте|осп)?|пер(?:еулок|еулке)?|наб(?:ережная|ережной|ер)?|шоссе|ш|"
    r"б(?:ульвар|ульваре|-р|ул)|пл(?:ощадь|ощади)?|проезд|пр-д|аллея|мкр|мкрн|микрорайон|м-н|тупик|туп|квартал|кв-л|тракт|"
    r"линия|пос(?:[её]лок)?|дер(?:евня)?|село)"
)
_HOUSE = (
    r"(?:(?:д(?:ом)?|влад|вл)\.?\s*№?\s*)?\d{1,4}\s?(?:[а-я](?![а-яё]))?(?:\s?[/\-]\s?\d{1,4}[а-я]?|\s?[кс]\d{1,3})?"
)
_REST = (
    r"(?:[\s,]*(?:(?:к(?:орп(?:ус)?)?|стр(?:оение)?|кв(?:артира|артире)?|оф(?:ис)?|под(?:ъезд)?|эт(?:аж)?|домофон|комн?|пом|лит(?:ера)?)"
    r"\.?\s*№?\s*\d{1,4}[а-я]?(?!\w)|\d{1,2}(?:-?й|-?ый|-?ой)?\s(?:подъезд|этаж)))*"
)
_TOWN = (
    r"(?:(?:\d{6},?\s*)?(?:(?:[А-ЯЁ][а-яё\-]+\s(?:обл(?:асть)?|край|респ(?:ублика)?|р-н|район)\.?,?\s*){0,2}"
    r"(?:(?:г(?:ор(?:од)?)?|пос|с|д|пгт)\.?\s?)?[А-ЯЁ][а-яё]+(?:[\s\-][А-ЯЁа-яё]+){0,2},\s*){1,3}|\d{6},?\s*)?"
)
_WORD = r"(?:[А-ЯЁ][а-яё]+(?:-[А-ЯЁа-яё]+)*|\d{1,3}(?:-?[а-я]{1,2})?|[А-ЯЁ]\.|лет|года|им(?:ени)?\.?)"
_ADDRESSES = (
    # ул. Ленина, д. 5, кв. 12
    re.compile(rf"(?<!\w){_TOWN}(?i:{_STREET})(?:\.\s?|\s){_WORD}(?:\s{_WORD}){{0,3}}[\s,]*(?i:{_HOUSE})(?!\w)(?i:{_REST})"),
    # улица ленина дом 5 кв 12
    re.compile(
        rf"(?<!\w)(?:г\.?\s?[а-яё\-]{{3,30}}[\s,]{{1,2}})?{_STREET}(?:\.\s?|\s)[а-яё\-]+(?:-\d{{1,3}})?(?:\s[а-яё\-]+){{0,2}}[\s,]+(?:д(?:ом)?\.?\s*)\d{{1,4}}\s?(?:[а-я](?![а-яё]))?(?:/\d+)?(?!\w){_REST}",
        re.IGNORECASE,
    ),
    re.compile(rf"(?<!\w)ул(?:\.\s?|\s)[а-яё\-]+(?:\s[а-яё\-]+)?[\s,]+{_HOUSE}(?!\w){_REST}", re.IGNORECASE),
    # пушкина 10 квартира 5
    re.compile(r"(?<!\w)[а-яё\-]{4,30}[\s,]{1,2}(?:д(?:ом)?\.?\s?)?\d{1,4}[а-я]?[\s,]{1,2}"
               r"кв(?:артира)?\.?\s?\d{1,4}(?!\w)", re.IGNORECASE),
    # where somebody stands: degrees, as a location is written
    re.compile(r"(?<![\w.])-?\d{1,3}\.\d{3,15}\s?[,; ]\s?-?\d{1,3}\.\d{3,15}(?![\w.])"),
    # Невский проспект, 28; Ленина ул. 5
    re.compile(rf"(?<!\w){_TOWN}[А-ЯЁ][а-яё\-]+(?:\s[А-ЯЁ][а-яё\-]+)?\s(?i:{_STREET})\.?[\s,]+(?i:{_HOUSE})(?!\w)(?i:{_REST})"),
    # Казань, Баумана 44-12; with a flat or after a word that says so
    re.compile(
        rf"(?<!\w)(?i:адрес\w*|доставить|доставк\w*|привезите|жив[уёе]\w*|проживаю|прописан\w*|зарегистрирован\w*)"
        rf"(?i:\s+(?:доставки|проживания|регистрации|по|на|в|мой|у|меня|это|будет|курьером)){{0,3}}\s*[:\-–—]?\s*"
        rf"(?P<value>{_TOWN}[А-ЯЁ][а-яё\-]+(?:\s[А-ЯЁ][а-яё\-]+){{0,2}},?\s(?i:{_HOUSE})(?!\w)(?i:{_REST}))"
    ),
    re.compile(rf"(?<!\w){_TOWN}[А-ЯЁ][а-яё\-]+(?:\s[А-ЯЁ][а-яё\-]+)?,?\s(?i:(?:д(?:ом)?\.?\s*)?\d{{1,4}}[а-я]?[\s,]+(?:корп\.?\s?\d+,?\s?)?кв(?:артира)?\.?\s?\d{{1,4}})(?!\w)"),
    re.compile(
        r"(?<!\w)(?:(?:Flat|Apartment|Apt\.?|Unit|Suite)\s\w{1,5},\s*)?\d{1,5}[A-Za-z]?\s(?:[NSEW]\.?\s)?(?:[A-Z0-9][\w'’.\-]*\s){1,4}"
        r"(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Place|Pl|Square|Sq|Terrace|Way|Crescent|"
        r"Close|Gardens|Grove|Highway|Hwy|Parkway|Pkwy|Row|Hill)(?!\w)\.?"
        r"(?:,?\s(?:Flat|Apartment|Apt\.?|Unit|Suite|Ste\.?|Floor|#)\s?\w{1,5})?"
        r"(?:,\s(?:[A-Z][a-z]+\s?){1,3}(?!\w))?(?:,?\s[A-Z]{2}(?=\s\d{5}))?(?:,?\s(?:\d{5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]?\s\d[A-Z]{2}))?(?!\w)"
    ),
    re.compile(
        r"(?<!\w)\d{1,5}[a-z]?\s(?:[a-z]+\s){1,3}(?:street|avenue|road|lane|boulevard|drive|square|court|terrace|crescent|gardens|place)(?!\w)"
        r"(?:,?\s(?:flat|apartment|apt\.?|unit|suite|#)\s?\w{1,5})?(?:,\s(?!item|order|sku|art|no\b|phone|tel|call)[a-z]+)?(?:,?\s(?:\d{5}|[a-z]{1,2}\d[a-z\d]?\s\d[a-z]{2}))?(?!\w)",
        re.IGNORECASE,
    ),
    re.compile(r"(?<!\w)(?:GIR 0AA|[A-Z]{1,2}\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{2})(?!\w)"),
    re.compile(r"(?<!\w)P\.?\s?O\.?\s?Box\s\d{1,6}(?!\w)", re.IGNORECASE),
    re.compile(r"(?i:индекс\w*|zip(?:\s?code)?|post(?:al)?\s?code)\W{0,3}(?:is\s)?(?P<value>\d{5,6}(?:-\d{4})?)(?!\w)"),
)  # fmt: skip


def people(text: str) -> Iterator[Found]:
    """Names, dates of birth, postal addresses and car plates."""
    small = text.lower()
    patronymic: tuple[re.Pattern[str], ...] = (_SMALL_NAME,) if "ич" in small or "вн" in small else ()
    for pattern in (*_NAMES, *_FULL_NAMES, *patronymic):
        for match in pattern.finditer(text):
            yield Found(*match.span("value" if "value" in pattern.groupindex else 0), "NAME")
    for pattern in (_CONTACT, _HOLDER):
        yield from (Found(*match.span("value"), "NAME") for match in pattern.finditer(text))
    for pattern in (_CALLED, _CALLED_LOWER, _I_AM):
        for match in pattern.finditer(text):
            if match.group("value").split()[0].lower() not in _NO_NAME:
                yield Found(*match.span("value"), "NAME")
    said: Iterable[re.Match[str]] = _SAID_DATE.finditer(text) if _BIRTH.search(text) else ()
    for match in (*_DATE.finditer(text), *said):
        if _OF_BIRTH.match(text, match.end()) or _BORN.search(text[max(0, match.start() - 48) : match.start()]):
            yield Found(*match.span(), "BIRTHDATE")
    for pattern in _ADDRESSES:
        for match in pattern.finditer(text):
            yield Found(*match.span("value" if "value" in pattern.groupindex else 0), "ADDRESS")
    yield from _plates(text)


def _plates(text: str) -> Iterator[Found]:
    for match in _PLATE.finditer(text):
        told = topic_of(text, *match.span()) == "plate"
        # two letters and digits are a word and a number as well
        if told or (not match.group()[1].isalpha() and not is_order(text, match.start())):
            yield Found(*match.span(), "PLATE")
    for match in _FOREIGN_PLATE.finditer(text):
        if topic_of(text, *match.span()) == "plate":
            yield Found(*match.span(), "PLATE")
