"""How a person is reached: telephone, e-mail, messenger; and addresses of machines and links that open something.

What a telephone number is, Google's libphonenumber decides; here are only the forms people type it in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address

from phonenumbers import Leniency, NumberParseException, PhoneNumberMatcher, is_valid_number, parse

from pipeline.masking.spans import Found, digits_of
from pipeline.masking.topics import is_money, is_order, topic_of

_GAP = r"[\s().\-‐‑‒–—−_*/~]{0,3}"
#: Eleven digits that begin as a Russian (or Kazakh) number does.
_RUSSIAN = re.compile(rf"(?<![\w+])\(?(?:\+\s?7|7|8){_GAP}\d(?:{_GAP}\d){{9}}(?!\w|[.,]\d)")
#: Ten digits without the prefix: a mobile, or a city's code in brackets.
_SHORT = re.compile(rf"(?<![\w+\-])(?:9\d\d|\(\s?[3489]\d\d\s?\)){_GAP}\d{{3}}{_GAP}\d\d{_GAP}\d\d(?!\w|[.,]\d)")
#: What is a telephone number only beside a word that says so.
_LOCAL = re.compile(r"(?<![\w+\-./])(?:\d{3}|\d{1,2})[\s\-–]\d\d[\s\-–]\d\d(?![\w\-]|[.,]\d)")
_TEN = re.compile(rf"(?<![\w+\-])\d(?:{_GAP}\d){{9,12}}(?!\w|[.,]\d)")
#: As short as it may be right after such a word.
_FEW = re.compile(
    r"(?<!\w)(?:тел(?:ефона?)?|моб(?:ильный)?|сот(?:овый)?|phone|tel|mobile|cell)(?:\s(?:мой|is|number|номер))?"
    r"[.:\s№#—–-]{0,3}(?P<value>\d{5,7}|\d{3}[\s-]\d{4})(?![\w-]|[.,]\d)",
    re.IGNORECASE,
)
_ABROAD = re.compile(rf"(?<![\w+])00[1-9]\d{{0,2}}(?:{_GAP}\d){{6,12}}(?!\w)")
#: The fewest digits of a telephone number; looking for these first spares libphonenumber most texts.
_DIGITS_ENOUGH = re.compile(r"\d(?:\W{0,3}\d){4}")
_DATE = re.compile(r"(?:[0-2]?\d|3[01])[./\-](?:[0-2]?\d|3[01])[./\-](?:\d{2}|\d{4})|\d{4}[./\-]\d{1,2}[./\-]\d{1,2}")
#: What may be a number of one of these countries without its code.
_HOME = re.compile(r"(?<![\w+])\(?\d(?:[\s().\-/]{0,2}\d){8,24}(?!\w)")
_REGIONS = ("GB", "US", "DE")

_EMAIL = re.compile(
    r"(?<![\w.+%\-])(?P<name>[\w.+%'\-]{0,63}[\w+%])\s?@\s?"
    r"(?:(?:[a-z\d](?:[\w\-]{0,61}[a-z\d])?[.,]){1,5}(?:[a-z]{2,24}|рф)|(?:[^\W_](?:[\w\-]{0,61}[^\W_])?\.){1,5}[а-яё]{2,10})"
    r"(?![a-z])",
    re.IGNORECASE,
)
#: Without its dot; with a name before it, it is no messenger's.
_EMAIL_SLIPPED = re.compile(r"(?<![\w.+%\-])[\w.+%\-]{2,64}@[^\W\d_][\w\-]{2,40}(?!\w)")
#: A word that stands before an address without a space.
_STUCK_WORD = re.compile(r".*[а-яё]{4,}(?=[a-z])", re.IGNORECASE)
_SPELT = r"[^\W_](?:[\w+]{0,40}|(?:\s[^\W_]){1,20})(?!\w)"
_JOIN = (
    r"(?:\s{0,2}[.\-]\s?|\s{1,2}(?:точка|дот|дефис|тире|минус|(?:нижнее\s)?подч[её]ркивание|dot|dash|hyphen|minus|"
    r"underscore|period)\s{1,2})"
)
_DOT = r"\s{0,2}(?:\.|[(\[{](?:dot|точка)[)\]}]|\b(?:dot|точка|дот)\b)\s{0,2}"
_TOP = r"(?:com?|ru|net|org|uk|io|me|de|eu|by|kz|ua|su|info|biz|edu|ру|ком|ком|рф|нет|орг|кз|бай)"
_DOMAIN = rf"[^\W_]\w{{0,40}}(?:{_JOIN}[^\W_]\w{{0,40}}){{0,2}}?"
_EMAIL_SPOKEN = re.compile(
    rf"(?<![\w.+\-]){_SPELT}(?:{_JOIN}{_SPELT}){{0,4}}\s{{0,2}}"
    rf"(?:(?:[(\[{{](?:at|собака|собачка)[)\]}}]|\b(?:собак[аи]|собачк[аи])\b)\s{{0,2}}{_DOMAIN}(?:{_DOT}|\s){_TOP}|"
    rf"(?P<at>\b(?:at|эт)\b)\s{{1,2}}{_DOMAIN}(?P<dot>{_DOT}){_TOP})(?:{_DOT}{_TOP})?(?!\w)",
    re.IGNORECASE,
)
#: Looked for first: few texts have it.
_AT_SAID = re.compile(r"собак[аи]|собачк[аи]|(?<!\w)(?:at|эт)(?!\w)", re.IGNORECASE)
#: "at shop.com" may be a place; beside these words it is an address.
_MAIL_SAID = re.compile(r"mail|почт|имейл|имэйл|мыл[оа]|write|пиши|reach|contact", re.IGNORECASE)
_HANDLE = re.compile(r"(?<![\w.@/])@[a-z]\w{3,31}(?!\w|@)", re.IGNORECASE)
_PROFILE = re.compile(
    r"(?:https?://)?(?:www\.)?(?:t\.me|telegram\.me|vk\.com|vk\.ru|wa\.me|ok\.ru|m\.me|instagram\.com|facebook\.com|"
    r"linkedin\.com/in|viber\.click)/[\w.+\-/]*[\w]",
    re.IGNORECASE,
)
_NAMED_HANDLE = re.compile(
    r"(?:\b(?:telegram|телеграмм?|телега|тг|tg|skype|скайп|discord|дискорд|instagram|инстаграмм?|инста|insta|ник|nick(?:name)?|"
    r"username|логин|login)\b)(?:\s+(?:is|мой|my|ник|логин|id|handle))?\s*[:\-–—=]\s*(?P<value>[a-z][\w.\-]{3,31})(?!\w)",
    re.IGNORECASE,
)
#: Without a mark between, it is told from a word by a figure, a dot or a line in it.
_SAID_HANDLE = re.compile(
    r"(?<!\w)(?:telegram|телеграмм?|телег[ае]|тг|tg|skype|скайп|discord|дискорд|instagram|инстаграмм?|инст[ауе]|insta|ник|"
    r"nick(?:name)?|username|логин|login)(?:\s(?:is|мой|my|ник|логин|id|handle|это|name))?\s(?P<value>(?:live:)?"
    r"(?=[a-z.]*[\d_.]\w)[a-z][\w.]{3,31})(?!\w|@|\.\w)",
    re.IGNORECASE,
)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])", re.IGNORECASE)
_MAC = re.compile(r"(?<![\w:\-])(?:[0-9a-f]{2}[:\-]){5}[0-9a-f]{2}(?![\w:\-])", re.IGNORECASE)

_URL = re.compile(r"(?:https?|ftp)://[^\s<>\"'«»]*[^\s<>\"'«».,;:!?)]", re.IGNORECASE)
_OPENS = re.compile(
    r"://[^/\s@]+@|[?&#](?:[\w\-]*(?:token|key|sig|signature|secret|password|passwd|pwd|auth|session|sid|otp|hash|jwt|"
    r"invite|reset|confirm|magic|ticket|email|phone|code|access)[\w\-]*)=[^&\s]{4,}|"
    r"/(?=[\w\-]*\d)(?=[\w\-]*[a-z])[\w\-]{20,}(?:[/?#]|\Z)",
    re.IGNORECASE,
)
_KEY = re.compile(
    r"(?<![\w])(?:eyJ[\w\-]{8,}\.[\w\-]{8,}(?:\.[\w\-]*)?|(?:sk|pk|rk|ghp|gho|xox[abps])[-_][\w\-]{10,}|AKIA[0-9A-Z]{12,}|"
    r"\d{8,10}:[\w\-]{30,})"
)
_CODE_OF_SMS = re.compile(
    r"(?<!\w)(?:код|code)\s(?P<value>\d{4,8})\s(?:из|from|in)\s(?:the\s)?(?:смс|sms|text)", re.IGNORECASE
)
_SAID_SECRET = re.compile(
    r"(?<!\w)(?P<what>пароль|password|passwd|pass|pwd|пин(?:-?код)?|pin(?:[ -]?code)?|"
    r"(?:cvv2?|cvc2?|цвв|свв)(?:[ -]?(?:код|code))?|"
    r"код(?:\s+из\s+(?:смс|sms)|\s+подтверждения|\s+(?:от\s+)?домофона)?|домофон(?=\W{1,3}\d)|"
    r"otp|one[- ]time code|verification code|security code|sms code|secret word|кодовое слово)"
    r"(?P<link>(?:\s+(?:от|для|к|for|to|of)\s+[^\W\d]{2,20}){0,2}"
    r"(?:\s+(?:мой|my|is|это|был|was|на\s+карте|на\s+обороте))?\s*[:=\-–—]?\s*)"
    r"(?P<value>\d{2,4}(?:[ \-]\d{2,4}){1,3}(?!\w)|[^\s,;«»\"<>]{3,40})",
    re.IGNORECASE,
)


def contacts(text: str) -> Iterator[Found]:
    """Telephone numbers, e-mail addresses, messenger names, network addresses, links and words that open something."""
    yield from _phones(text)
    yield from _mailboxes(text)
    for pattern in (_HANDLE, _PROFILE):
        yield from (Found(*match.span(), "HANDLE") for match in pattern.finditer(text))
    for pattern in (_NAMED_HANDLE, _SAID_HANDLE):
        yield from (Found(*match.span("value"), "HANDLE") for match in pattern.finditer(text))
    yield from _machines(text)
    yield from _secrets(text)


def _mailboxes(text: str) -> Iterator[Found]:
    if "@" in text:
        for match in _EMAIL.finditer(text):
            stuck = _STUCK_WORD.match(match.group("name"))
            yield Found(match.start() + (stuck.end() if stuck else 0), match.end(), "EMAIL")
        yield from (Found(*match.span(), "EMAIL") for match in _EMAIL_SLIPPED.finditer(text))
    for match in _EMAIL_SPOKEN.finditer(text) if _AT_SAID.search(text) else ():
        placed = match.group("at") and match.group("dot").strip() == "."
        if not placed or _MAIL_SAID.search(text, max(0, match.start() - 40), match.start()):
            yield Found(*match.span(), "EMAIL")


def _phones(text: str) -> Iterator[Found]:
    if not _DIGITS_ENOUGH.search(text):
        return
    found: list[Found] = []
    for pattern in (_RUSSIAN, _SHORT):
        for match in pattern.finditer(text):
            # only a telephone number is grouped like this
            bare = match.group().isdecimal() and is_order(text, match.start())
            if "+" in match.group() or not (bare or is_money(text, *match.span())):
                found.append(Found(*match.span(), "PHONE"))
    for match in _ABROAD.finditer(text):
        if _is_valid("+" + digits_of(match.group())[2:]):
            found.append(Found(*match.span(), "PHONE"))
    for pattern in (_LOCAL, _TEN):
        for match in pattern.finditer(text):
            dated = _DATE.fullmatch(match.group())
            if not dated and topic_of(text, *match.span()) == "phone" and not is_money(text, *match.span()):
                found.append(Found(*match.span(), "PHONE"))
    found += (Found(*match.span("value"), "PHONE") for match in _FEW.finditer(text))
    if "+" in text or "＋" in text:
        numbers = PhoneNumberMatcher(text, None, leniency=Leniency.POSSIBLE)
        found += (Found(number.start, number.end, "PHONE") for number in numbers)
    yield from found
    yield from _national(text, found)


def _national(text: str, known: list[Found]) -> Iterator[Found]:
    """Numbers written as at home elsewhere: in brackets or groups, or beside a word that says what they are."""
    for match in _HOME.finditer(text):
        if any(one.start < match.end() and match.start() < one.end for one in known):
            continue
        for region in _REGIONS:
            for number in PhoneNumberMatcher(match.group(), region, leniency=Leniency.VALID):
                span = (match.start() + number.start, match.start() + number.end)
                if not _DATE.fullmatch(number.raw_string) and _is_told(text, span, number.raw_string):
                    yield Found(*span, "PHONE")


def _is_told(text: str, span: tuple[int, int], number: str) -> bool:
    said = topic_of(text, *span)
    grouped = len(re.findall(r"\d+", number)) >= 3
    return said == "phone" or (grouped and said is None and not is_money(text, *span))


def _is_valid(number: str) -> bool:
    try:
        return is_valid_number(parse(number, None))
    except NumberParseException:
        return False


def _machines(text: str) -> Iterator[Found]:
    for match in _IPV4.finditer(text):
        if _is_address(match.group()) and topic_of(text, *match.span()) != "version":
            yield Found(*match.span(), "IP")
    for match in _IPV6.finditer(text):
        if len(match.group()) > 6 and _is_address(match.group()):
            yield Found(*match.span(), "IP")
    yield from (Found(*match.span(), "IP") for match in _MAC.finditer(text))


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


def _secrets(text: str) -> Iterator[Found]:
    for match in _URL.finditer(text):
        if _OPENS.search(match.group()):
            yield Found(*match.span(), "SECRET")
    yield from (Found(*match.span(), "SECRET") for match in _KEY.finditer(text))
    yield from (Found(*match.span("value"), "SECRET") for match in _CODE_OF_SMS.finditer(text))
    for match in _SAID_SECRET.finditer(text):
        value = match.group("value")
        named = any(mark in match.group("link") for mark in ":=")
        what = match.group("what").lower()
        if what == "код" and not named:
            continue
        if named or (re.search(r"\d", value) and (len(value) >= 3)):
            yield Found(match.start("value"), match.end("value") - len(value) + len(value.rstrip(".!?)")), "SECRET")
