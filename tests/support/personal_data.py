"""Customers' messages with personal data in them, made from a seed; every number is made up and has its check digits.

Each message knows which parts of it identify somebody, and which look like that and do not: orders, parcels, prices,
dates, articles.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

RU_NAMES = ("Анна", "Иван", "Мария", "Пётр", "Ольга", "Сергей", "Екатерина", "Дмитрий")
RU_SURNAMES = ("Кузнецова", "Соколов", "Попова", "Лебедев", "Морозова", "Волков", "Зайцева", "Павлов")
RU_PATRONYMICS = ("Ивановна", "Петрович", "Сергеевна", "Алексеевич", "Дмитриевна", "Николаевич")
EN_NAMES = ("John Smith", "Emily Clark", "Oliver Brown", "Grace Lee", "Peter O'Neil", "Mary-Ann Hill")
STREETS = ("Ленина", "Баумана", "Академика Павлова", "Садовая", "Красных Зорь", "8 Марта", "Лесная")
RU_CITIES = ("Москва", "Казань", "Нижний Новгород", "Санкт-Петербург", "Екатеринбург")
EN_STREETS = ("Baker Street", "Elm Avenue", "Kings Road", "Oak Lane", "Lincoln Drive", "Park Place")
MONTHS = (
    "января",
    "февраля",
    "марта",
    "апреля",
    "мая",
    "июня",
    "июля",
    "августа",
    "сентября",
    "октября",
    "ноября",
    "декабря",
)
EN_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
PLATE_LETTERS = "АВЕКМНОРСТУХ"


@dataclass(frozen=True)
class Message:
    """A message, the identifiers in it by kind, and what must be left as it is."""

    language: str
    text: str
    identifiers: tuple[tuple[str, str], ...]
    kept: tuple[str, ...]


def digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def with_luhn(body: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return body + str(-total % 10)


def card(rng: random.Random) -> str:
    number = with_luhn(rng.choice(("2202", "4276", "5469", "4111")) + digits(rng, 11))
    groups = [number[at : at + 4] for at in range(0, 16, 4)]
    return rng.choice((" ".join(groups), "-".join(groups), number))


def inn(rng: random.Random) -> str:
    def check(body: str, weights: tuple[int, ...]) -> str:
        return str(sum(int(d) * w for d, w in zip(body, weights, strict=True)) % 11 % 10)

    if rng.random() < 0.5:
        body = str(rng.randint(1, 9)) + digits(rng, 8)
        return body + check(body, (2, 4, 10, 3, 5, 9, 4, 6, 8))
    body = str(rng.randint(1, 9)) + digits(rng, 9)
    body += check(body, (7, 2, 4, 10, 3, 5, 9, 4, 6, 8))
    return body + check(body, (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8))


def snils(rng: random.Random) -> str:
    body = str(rng.randint(2, 9)) + digits(rng, 8)
    number = body + f"{sum(int(d) * w for d, w in zip(body, range(9, 0, -1), strict=True)) % 101 % 100:02d}"
    return rng.choice((f"{number[:3]}-{number[3:6]}-{number[6:9]} {number[9:]}", number))


def iban(rng: random.Random) -> str:
    country, account = rng.choice((("DE", digits(rng, 18)), ("GB", "NWBK" + digits(rng, 14))))
    as_number = "".join(str(int(char, 36)) for char in f"{account}{country}00")
    number = f"{country}{98 - int(as_number) % 97:02d}{account}"
    return rng.choice((number, " ".join(number[at : at + 4] for at in range(0, len(number), 4))))


def ru_phone(rng: random.Random) -> str:
    a, b, c, d = rng.choice(("916", "925", "903", "981", "999")), digits(rng, 3), digits(rng, 2), digits(rng, 2)
    return rng.choice(
        (
            f"+7{a}{b}{c}{d}",
            f"8{a}{b}{c}{d}",
            f"+7 ({a}) {b}-{c}-{d}",
            f"8 {a} {b} {c} {d}",
            f"8-{a}-{b}-{c}-{d}",
            f"+7 {a} {b}{c}{d}",
            f"8({a}){b}{c}{d}",
            f"{a} {b}-{c}-{d}",
        )
    )


def en_phone(rng: random.Random) -> str:
    last = f"{rng.randint(2, 9)}{digits(rng, 2)}", digits(rng, 4)
    return rng.choice(
        (
            f"+44 20 79{digits(rng, 2)} {digits(rng, 4)}",
            f"+1 415 {last[0]} {last[1]}",
            f"(415) {last[0]}-{last[1]}",
            f"+1-415-{last[0]}-{last[1]}",
            f"+49 30 {digits(rng, 6)}",
            f"07911 {rng.randint(1, 9)}{digits(rng, 5)}",
        )
    )


def email(rng: random.Random) -> str:
    name = rng.choice(("ivan.petrov", "a_kuz", "masha+shop", "j.smith", "grace-lee", "user2020"))
    return f"{name}{rng.randint(1, 99)}@{rng.choice(('mail.ru', 'yandex.ru', 'gmail.com', 'post.example.co.uk'))}"


def passport(rng: random.Random) -> str:
    series, number = rng.choice(("45", "40", "92", "65")) + digits(rng, 2), digits(rng, 6)
    return rng.choice(
        (f"{series} {number}", f"{series[:2]} {series[2:]} {number}", f"{series}{number}", f"{series} № {number}")
    )


def account(rng: random.Random) -> str:
    return "40817810" + digits(rng, 12)


def ru_date(rng: random.Random) -> str:
    d, m, y = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1950, 2005)
    return rng.choice((f"{d:02d}.{m:02d}.{y}", f"{d} {MONTHS[m - 1]} {y}", f"{d:02d}/{m:02d}/{y}"))


def en_date(rng: random.Random) -> str:
    d, m, y = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1950, 2005)
    return rng.choice(
        (f"{m:02d}/{d:02d}/{y}", f"{EN_MONTHS[m - 1]} {d}, {y}", f"{d} {EN_MONTHS[m - 1]} {y}", f"{y}-{m:02d}-{d:02d}")
    )


def ru_address(rng: random.Random) -> str:
    street, house, flat = rng.choice(STREETS), rng.randint(1, 180), rng.randint(1, 300)
    town = rng.choice(("", f"г. {rng.choice(RU_CITIES)}, ", f"{rng.choice(RU_CITIES)}, "))
    return town + rng.choice(
        (
            f"ул. {street}, д. {house}, кв. {flat}",
            f"улица {street}, дом {house}, квартира {flat}",
            f"ул. {street} {house}-{flat}",
            f"проспект {street}, {house}, корп. 2, кв. {flat}",
        )
    )


def en_address(rng: random.Random) -> str:
    number, street = rng.randint(1, 999), rng.choice(EN_STREETS)
    return rng.choice(
        (
            f"{number} {street}, Apt {rng.randint(1, 60)}",
            f"{number} {street}, London NW1 6XE",
            f"{number} {street}, Springfield, IL 62704",
            f"Flat {rng.randint(1, 9)}, {number} {street}",
        )
    )


def licence(rng: random.Random) -> str:
    return f"{digits(rng, 2)} {digits(rng, 2)} {digits(rng, 6)}"


def policy(rng: random.Random) -> str:
    number = with_luhn(digits(rng, 15))
    return rng.choice((number, " ".join(number[at : at + 4] for at in range(0, 16, 4))))


def plate(rng: random.Random) -> str:
    a, b, c = (rng.choice(PLATE_LETTERS) for _ in range(3))
    return rng.choice(
        (f"{a}{digits(rng, 3)}{b}{c}{rng.choice(('77', '178', '16'))}", f"{a} {digits(rng, 3)} {b}{c} 799")
    )


def ip(rng: random.Random) -> str:
    return ".".join(str(rng.randint(1, 254)) for _ in range(4))


def handle(rng: random.Random) -> str:
    name = f"{rng.choice(('anna', 'ivan', 'grace', 'olly'))}_{digits(rng, 3)}"
    return rng.choice((f"@{name}", f"https://t.me/{name}", f"t.me/{name}"))


def link(rng: random.Random) -> str:
    token = "".join(rng.choice("abcdef0123456789") for _ in range(24))
    return rng.choice((f"https://shop.example/reset?token={token}", f"https://shop.example/login/{token}"))


def ru_name(rng: random.Random) -> str:
    return rng.choice(
        (
            f"{rng.choice(RU_SURNAMES)} {rng.choice(RU_NAMES)} {rng.choice(RU_PATRONYMICS)}",
            f"{rng.choice(RU_NAMES)} {rng.choice(RU_SURNAMES)}",
            rng.choice(RU_NAMES),
        )
    )


def en_name(rng: random.Random) -> str:
    return rng.choice(EN_NAMES)


def ssn(rng: random.Random) -> str:
    return f"{rng.randint(101, 665)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}"


def bik(rng: random.Random) -> str:
    return "0445" + digits(rng, 5)


def uk_licence(rng: random.Random) -> str:
    return f"MORGA{digits(rng, 6)}SM9IJ"


def foreign_passport(rng: random.Random) -> str:
    return rng.choice((digits(rng, 9), f"AB{digits(rng, 7)}"))


Maker = Callable[[random.Random], str]
#: Kind, how a value is made, and sentences that hold one, by language.
KINDS: dict[str, dict[str, tuple[Maker, tuple[str, ...]]]] = {
    "ru": {
        "PHONE": (ru_phone, ("мой телефон {}", "Перезвоните на {}", "тел. {}", "{} это мой номер", "WhatsApp {}")),
        "EMAIL": (email, ("пишите на {}", "моя почта {}", "E-mail: {}", "чек пришлите сюда: {}")),
        "CARD": (card, ("оплатила картой {}", "карта {}", "верните деньги на карту {}", "номер карты: {}")),
        "PASSPORT": (
            passport,
            ("паспорт {}", "мой паспорт: {}", "паспортные данные {}, выдан ОВД", "серия и номер паспорта {}"),
        ),
        "INN": (inn, ("ИНН {}", "мой ИНН: {}", "инн организации {}", "выставьте счёт, ИНН {}")),
        "SNILS": (snils, ("СНИЛС {}", "мой снилс: {}", "номер СНИЛС {}")),
        "ACCOUNT": (account, ("расчётный счёт {}", "р/с {}", "переведите на счёт {}", "номер счета: {}")),
        "BIK": (bik, ("БИК {}", "бик банка: {}")),
        "BIRTHDATE": (ru_date, ("дата рождения {}", "родилась {}", "{} г.р.", "я родился {} года")),
        "ADDRESS": (ru_address, ("адрес доставки: {}", "живу по адресу {}", "привезите на {}", "мой адрес {}")),
        "LICENCE": (licence, ("водительское удостоверение {}", "ВУ {}", "права: {}")),
        "POLICY": (policy, ("полис ОМС {}", "номер полиса {}", "ОМС: {}")),
        "PLATE": (plate, ("номер машины {}", "заеду на авто {}", "пропуск на {}")),
        "IP": (ip, ("мой IP {}", "захожу с адреса {}")),
        "HANDLE": (handle, ("мой телеграм {}", "пишите мне {}")),
        "SECRET": (link, ("ссылка {} не открывается", "перешла по {}")),
        "NAME": (ru_name, ("меня зовут {}", "Получатель: {}", "ФИО: {}")),
    },
    "en": {
        "PHONE": (en_phone, ("my phone is {}", "call me at {}", "mobile: {}", "reach me on {}")),
        "EMAIL": (email, ("my e-mail is {}", "write to {}", "email {}")),
        "CARD": (card, ("I paid with card {}", "card number {}", "refund it to {} please")),
        "PASSPORT": (foreign_passport, ("my passport is {}", "passport number {}", "passport no. {}")),
        "ACCOUNT": (account, ("account number {}", "send it to account {}")),
        "IBAN": (iban, ("IBAN {}", "my bank account: {}", "refund to {}")),
        "BIRTHDATE": (en_date, ("date of birth {}", "I was born on {}", "DOB: {}")),
        "ADDRESS": (en_address, ("deliver to {}", "my address is {}", "I live at {}")),
        "LICENCE": (uk_licence, ("driving licence {}", "driver's license number {}")),
        "IP": (ip, ("my IP address is {}", "I connect from {}")),
        "HANDLE": (handle, ("I am {} on Telegram", "my telegram is {}")),
        "SECRET": (link, ("the link {} is broken", "I clicked {}")),
        "NAME": (en_name, ("my name is {}", "recipient: {}", "Full name: {}")),
        "ID": (ssn, ("my SSN is {}", "social security number {}")),
        "INN": (inn, ("my INN is {}", "tax id {}")),
    },
}


def order(rng: random.Random) -> str:
    return rng.choice((digits(rng, 12), "9" + digits(rng, 9), "89" + digits(rng, 9), digits(rng, 7), digits(rng, 16)))


def price(rng: random.Random) -> str:
    return rng.choice((f"{rng.randint(1, 99)} {digits(rng, 3)} руб", f"{rng.randint(100, 99999)} ₽"))


def en_price(rng: random.Random) -> str:
    return f"${rng.randint(1, 9)},{digits(rng, 3)}.{digits(rng, 2)}"


def track(rng: random.Random) -> str:
    return rng.choice((f"RA{digits(rng, 9)}RU", "800" + digits(rng, 11), "1" + digits(rng, 9)))


def article(rng: random.Random) -> str:
    return rng.choice((digits(rng, 8), f"AB-{digits(rng, 4)}", f"{digits(rng, 5)}-{digits(rng, 2)}"))


def day(rng: random.Random) -> str:
    return f"{rng.randint(1, 28):02d}.{rng.randint(1, 12):02d}.2026"


#: What must be left as it is, with sentences that hold it.
KEPT: dict[str, tuple[tuple[Maker, tuple[str, ...]], ...]] = {
    "ru": (
        (order, ("где мой заказ № {}?", "Заказ {} не пришёл", "по заказу номер {} вопрос", "заказ {}")),
        (track, ("трек-номер {}", "отправление {} застряло", "накладная {}")),
        (price, ("он стоит {}?", "списали {}", "цена была {}")),
        (article, ("артикул {}", "товар арт. {}")),
        (day, ("покупала {}", "доставка {} актуальна?")),
    ),
    "en": (
        (order, ("where is my order {}?", "Order number {} has not arrived", "order #{} is late", "order no. {}")),
        (track, ("tracking number {}", "parcel {} is stuck", "shipment {}")),
        (en_price, ("does it cost {}?", "I was charged {}")),
        (article, ("item {}", "SKU {}")),
        (day, ("bought on {}", "is delivery on {} possible?")),
    ),
}
OPENINGS = {"ru": ("Здравствуйте! ", "Добрый день, ", ""), "en": ("Hello! ", "Hi, ", "")}
JOINTS = (". ", ", ", "; ", "\n")


def messages(seed: int, count: int = 200) -> list[Message]:
    """``count`` messages, half of each language; every kind comes again and again, and most hold something to keep."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        language = ("ru", "en")[number % 2]
        names = list(KINDS[language])
        chosen = {names[(number // 2) % len(names)], rng.choice(names)}
        parts, identifiers, kept = [], [], []
        for kind in sorted(chosen):
            make, sentences = KINDS[language][kind]
            value = make(rng)
            identifiers.append((kind, value))
            parts.append(rng.choice(sentences).format(value))
        if rng.random() < 0.8:
            make, sentences = rng.choice(KEPT[language])
            value = make(rng)
            kept.append(value)
            parts.append(rng.choice(sentences).format(value))
        rng.shuffle(parts)
        text = rng.choice(OPENINGS[language]) + rng.choice(JOINTS).join(parts)
        made.append(Message(language, text, tuple(identifiers), tuple(kept)))
    return made
