"""Units of measure in a text, in Russian, Ukrainian and English.

A measure is a number with its unit in a form in which two ways of writing the same are equal: 24 months = 2 years,
an hour and a half = 90 minutes, 1.5 kg = 1,500 g. Units without an exact relation (a month has no number of days) are
never converted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

#: Unit -> what it is counted in, how many of those, how it is written.
_UNITS: dict[str, tuple[str, int, str]] = {
    "second": ("seconds", 1, r"sec(?:ond)?s?|сек(?:унд\w{0,3})?"),
    "minute": ("seconds", 60, r"m|min(?:ute)?s?|м|мин(?:ут\w{0,4})?|минутн\w{2,3}|хвилин\w{0,3}"),
    "hour": ("seconds", 3600, r"h|hrs?|hours?|ч|час(?:а|ов|у|ам|ами|ах)?|часов\w{2,3}|годин\w{0,3}"),
    "day": ("seconds", 86_400, r"days?|день|дн(?:[яюі]|ей|ям|ями|ях|ів)|дневн\w{2,3}|сут(?:ки|ок|очн\w\w)|діб|доб[аи]"),
    "night": ("nights", 1, r"nights?|ноч(?:ь|и|ей|ам)|ніч|ночі"),
    "week": ("seconds", 604_800, r"weeks?|недел(?:я|и|ю|ь|е|ям|ями|ях|ей)|недельн\w{2,3}|тиж(?:день|ні|нів|ня|нями)"),
    "month": ("months", 1, r"m|mos?|months?|мес(?:яц(?:а|е|ев|ам|ами|ах|у)?|ячн\w{2,3})?|місяц\w{1,3}"),
    "year": ("months", 12, r"years?|yrs?|г|лет|год(?:а|у|ом|ы|ов|ам|е)?|годов\w{2,3}|летн\w{2,3}|рік|рок(?:и|у|ів|ом)"),
    "gram": ("grams", 1, r"g|gr|gram(?:me)?s?|г|гр(?:амм\w{0,3})?"),
    "kilogram": ("grams", 1000, r"kg|kilos?|kilogram(?:me)?s?|кг|кило(?:грамм\w{0,3})?"),
    "millimetre": ("millimetres", 1, r"mm|millimet(?:er|re)s?|мм|миллиметр\w{0,3}"),
    "centimetre": ("millimetres", 10, r"cm|centimet(?:er|re)s?|см|сантиметр\w{0,3}"),
    "metre": ("millimetres", 1000, r"m|met(?:er|re)s?|м|метр\w{0,3}"),
    "kilometre": ("millimetres", 1_000_000, r"km|kilomet(?:er|re)s?|км|километр\w{0,3}"),
    "inch": ("inches", 1, r"inch(?:es)?|дюйм\w{0,3}"),
    "foot": ("inches", 12, r"ft|feet|foot|фут(?:а|ов|у)?"),
    "mile": ("inches", 63_360, r"mi|miles?|мил(?:я|и|ь|ю|ям)"),
    "millilitre": ("millilitres", 1, r"ml|millilit(?:er|re)s?|мл|миллилитр\w{0,3}"),
    "litre": ("millilitres", 1000, r"l|lit(?:er|re)s?|л|литр\w{0,3}"),
    "kilobyte": ("kilobytes", 1, r"kb|kilobytes?|кб|килобайт\w{0,3}"),
    "megabyte": ("megabytes", 1, r"mb|megabytes?|мб|мегабайт\w{0,3}"),
    "gigabyte": ("gigabytes", 1, r"gb|gigs?|gigabytes?|гб|гиг(?:абайт\w{0,3})?"),
    "terabyte": ("terabytes", 1, r"tb|terabytes?|тб|терабайт\w{0,3}"),
    "watt": ("watts", 1, r"w|watts?|вт|ватт\w{0,2}"),
    "kilowatt": ("watts", 1000, r"kw|kilowatts?|квт|киловатт\w{0,2}"),
}  # fmt: skip
#: How any of them is written.
UNIT = "|".join(pattern for _, _, pattern in _UNITS.values())
_WHOLE = {name: re.compile(pattern, re.IGNORECASE) for name, (_, _, pattern) in _UNITS.items()}
_AFTER = re.compile(
    rf"[\s-]{{0,2}}(?:(?:рабоч|календарн|полн|робоч|business|working|calendar|full)\w{{0,4}}\s)?({UNIT})(?![\w'])",
    re.IGNORECASE,
)
_PER = re.compile(rf"\s?\.?\s?(?:/|в|за|на|per|an?|each|every)\s?({UNIT})(?![\w'])", re.IGNORECASE)
#: Units that are one by their form, and those that are only behind certain words: "недели" are also weeks.
_ONE = re.compile(
    "minute|hour|day|week|month|year|минут[ау]|минутой|час|день|днем|сутки|недел[яю]|месяц|год|хвилин[ау]|годин[ау]|"
    "тиждень|місяць|рік"
)
_ONE_OF = re.compile("минуты|часа|дня|суток|недели|месяца|года|тижня|місяця|року|години|хвилини")
_WITHIN = re.compile("течение|до|от|около|более|менее|больше|меньше|после|каждого|протягом|від|понад")
_HALF = re.compile(
    r"(?<!\w)(?:(?:пол|half\s(?:an?\s)?)(года|часа|дня|минуты|метра|литра|килограмма|hour|year|day|minute|month)"
    r"|(?:an?\s)?(hour|year|day|week|month|minute)\sand\sa\shalf)(?!\w)",
    re.IGNORECASE,
)


def units(word: str) -> list[str]:
    """The units a word may stand for: most have one, ``м`` is a metre or a minute."""
    return [name for name, pattern in _WHOLE.items() if pattern.fullmatch(word)]


def measures(values: Iterable[str], word: str) -> frozenset[str]:
    """Numbers of the unit ``word``, as ``seconds 172800``."""
    found = set()
    for name in units(word):
        base, factor, _ = _UNITS[name]
        for value in values:
            if value.count(".") <= 1 and "," not in value and ":" not in value:
                found.add(f"{base} {(Decimal(value) * factor).normalize():f}")
    return frozenset(found)


def unit_after(text: str, place: int) -> str:
    """The unit that follows a number which ends at ``place``; empty for none."""
    found = _AFTER.match(text, place)
    return found.group(1) if found else ""


def per(text: str, place: int) -> frozenset[str]:
    """What an amount that ends at ``place`` is paid for each of: 5 € **a day**, 350 ₽ **в месяц**."""
    found = _PER.match(text, place)
    return frozenset(units(found.group(1))) if found else frozenset()


def halves(text: str) -> Iterator[tuple[str, frozenset[str], str]]:
    """Halves that are written without a number: as value, measures, and as written."""
    for found in _HALF.finditer(text):
        value, word = ("0.5", found.group(1)) if found.group(1) else ("1.5", found.group(2))
        yield value, measures([value], word), found.group()


def lone(text: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Units that a text names once and without a number, with the measure of one: a week is seven days."""
    before = ""
    for word in re.findall(r"[^\W_]+", text.lower().replace("ё", "е")):
        of = _ONE_OF.fullmatch(word) and _WITHIN.fullmatch(before)
        if of or (_ONE.fullmatch(word) and not before[-1:].isdigit()):
            yield word, measures(["1"], word)
        before = word
