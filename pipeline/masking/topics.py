"""What a number is said to be: the words around it, in Russian and English.

Twelve digits may be an order or a taxpayer's number; only the words tell. The nearest word before the number counts,
else the nearest one after it, neither across another number unless both are as long and stand in one list.
"""

from __future__ import annotations

import re
from typing import Literal

from pipeline.masking.spans import digits_of

Topic = Literal[
    "order", "phone", "card", "passport", "inn", "snils", "account", "bik", "licence", "policy", "plate", "id", "price",
    "version", "company",
]  # fmt: skip

#: Characters looked at before and after a number.
_BEFORE, _AFTER = 56, 28

_WORDS: dict[Topic, str] = {
    "order": (
        r"заказ\w*|артикул\w*|трек\w*|track\w*|отправлени\w*|накладн\w*|посылк\w*|чек(?:а|у|ом|е|и)?|квитанци\w*|"
        r"договор\w*|заявк\w*|обращени\w*|тикет\w*|модел\w*|штрих-?код\w*|товар\w*|серийн\w*|купон\w*|промокод\w*|"
        r"сертификат\w*|бронь|бронировани\w*|imei|s/n|sku|арт|orders?|parcels?|shipments?|invoices?|items?|articles?|"
        r"tickets?|references?|ref|receipts?|models?|serial|barcodes?|ean|coupons?|vouchers?|bookings?|reservations?|"
        r"contracts?|cases?|waybills?|products?|purchases?"
    ),
    "phone": (
        r"тел|телефон\w*|рабоч(?:ий|ему)|домашн(?:ий|ему)|моб|мобильн\w*|сотов\w*|"
        r"звон\w*|позвон\w*|перезвон\w*|наб(?:ерите|рать)|смс|sms|"
        r"whats?app|ватсап\w*|вотсап\w*|вацап\w*|viber|вайбер\w*|telegram|телеграм\w*|phones?|mobile|cell|landline|calls?|"
        r"call me|text me|reach me|ring|tel|dial|факс|fax|"
        r"мо(?:й|его|ему|ём|ем) номер\w*|наш номер\w*|номер для связи|my (?:number|no)|our number"
    ),
    "card": r"карт(?:а|ы|е|у|ой|очк\w*)|cards?|visa|виза|mastercard|мастеркард|maestro|мир|pan",
    "passport": r"паспорт\w*|пасп|загран\w*|passports?",
    "inn": r"(?:инн|inn)\s?[/\\]\s?(?:кпп|огрн)|инн|inn|taxpayer\w*|tax (?:id|number|no)|налогов\w* номер\w*|tin",
    "snils": r"снилс\w*|snils|пенсионн\w* (?:свидетельств\w*|страхов\w*)",
    "account": (
        r"р\s?/\s?сч?|к\s?/\s?сч?|р\.с|сч[её]т(?:а|у|ом|е)?|рсч[её]т|расч[её]тн\w*|"
        r"корр?(?:еспондентск\w*)?\.? ?сч[её]т\w*|"
        r"лицев\w*|account|acct|a/c|acc|iban"
    ),
    "bik": r"бик|bic|bik|swift",
    "licence": (
        r"водительск\w*|вод\. ?уд\w*|в/у|ву|права(?=\W)|driver\W{0,2}s? licen[cs]e|driving licen[cs]e|licen[cs]e|dl"
    ),
    "policy": r"полис\w*|омс|дмс|осаго|каско|енп|polic(?:y|ies)|insurance",
    "plate": (
        r"гос\W?номер\w*|г/н|номер\w* (?:машин\w*|авто\w*)|автомобил\w*|машин\w*|авто|plates?|car|reg(?:istration)?"
    ),
    "id": (
        r"ssn|social security(?: number)?|national insurance(?: number)?|nino|nin|ni|огрнип|иин|жсн|iin|"
        r"(?:vin|вин)(?:\W?(?:код\w*|code|number|номер))?(?: (?:машины|авто\w*))?|"
        r"удостоверени\w* личности|уд\. ?личности|(?:national )?id card|identity card|national id|"
        r"стс|птс|техпаспорт\w*|свидетельств\w* о регистрации|"
        r"свидетельств\w* о рождении|birth certificate|военн\w* билет\w*|внж|вид на жительство|residence permit"
    ),
    "company": r"огрн|ogrn|кпп|kpp|окпо|октмо|окато",
    "version": r"верси\w*|version|прошивк\w*|firmware|build|ver",
    "price": r"цен\w*|сто(?:ит|имость\w*|ил\w*)|сумм\w*|price|costs?|total|amount|баланс\w*|руб\w*",
}  # fmt: skip
_TOPICS = re.compile(
    r"(?<!\w)(?:" + "|".join(f"(?P<{topic}>{words})" for topic, words in _WORDS.items()) + r")(?!\w)", re.IGNORECASE
)
#: What may stand between an order's word and its number for the number to be the order's beyond doubt.
_LINK = (
    r"(?:[\s№#:=\-–—(«\"'.,n]|номер\w*|number|num|no|nr|id|код|code|под|за|is|was|мой|my|было?|это|has|the|сд[эе]к\w*|"
    r"cdek|ozon|озон|dhl|ups|usps|fedex|почт\w*|росси\w*|post|boxberry|вайлдберриз|wb|интернет-магазин\w*|от)*"
)
_ORDER_SAYS = re.compile(rf"(?<!\w)(?:{_WORDS['order']}){_LINK}\Z", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"\d(?:[\s().\-–—/]{0,2}\d){4,24}")
#: Where a new statement begins.
_CLAUSE = re.compile(r"[;\n!?]|\.\s")
_LIST = re.compile(r"\s*(?:[,;/&+]|и|and|или|or|а также|и ещ[её])?\s*(?:№|#)?\s*\Z", re.IGNORECASE)
_MONEY_AFTER = re.compile(
    r"[^\S\n]?(?:руб|р\.|р(?![\w/])|₽|\$|€|£|usd|eur|rub|тенге|тг\b|тыс|млн|коп|%)", re.IGNORECASE
)
_MONEY_BEFORE = re.compile(r"(?:[$€£₽]|usd|eur|rub)\s?\Z", re.IGNORECASE)


def topic_of(text: str, start: int, end: int) -> Topic | None:
    """What the words say ``text[start:end]`` is; None where they say nothing."""
    named = None
    for match in _TOPICS.finditer(_before(text, start)):
        named = match
    if named is None:
        behind = _CLAUSE.split(text[end : end + _AFTER], maxsplit=1)[0]
        number = _LONG_NUMBER.search(behind)
        named = _TOPICS.search(behind, 0, number.start() if number else len(behind))
    return named.lastgroup if named else None  # type: ignore[return-value]


def is_order(text: str, start: int) -> bool:
    """The number that begins at ``start`` is said, right before it, to be that of an order, a parcel, a product …"""
    return bool(_ORDER_SAYS.search(_before(text, start)))


def is_money(text: str, start: int, end: int) -> bool:
    """A currency stands beside the number."""
    return bool(_MONEY_AFTER.match(text, end) or _MONEY_BEFORE.search(text[max(0, start - 4) : start]))


def _before(text: str, start: int) -> str:
    """The text before a number, from the end of the number before that; numbers of one list share their words."""
    window = text[max(0, start - _BEFORE) : start]
    own = _LONG_NUMBER.match(text, start)
    length = len(digits_of(own.group())) if own else 0
    for number in reversed(list(_LONG_NUMBER.finditer(window))):
        if len(digits_of(number.group())) != length or not _LIST.fullmatch(window, number.end()):
            return window[number.end() :]
        window = window[: number.start()]
    return window
