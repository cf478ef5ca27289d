"""The identifiers of one turn and the marks that stand for them: out goes ``[PHONE_1]``, back comes the number."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache

from pipeline.masking.recognise import recognise
from pipeline.masking.spans import Found, Kind, canonical, merged

#: What models make of the word in a mark when they translate or inflect it.
_CALLED: dict[Kind, str] = {
    "PHONE": r"phone(?:[ _]number)?|(?:номер[ _])?телефон\w*|тел",
    "EMAIL": r"e-?mail(?:[ _]address)?|(?:адрес[ _])?(?:эл\w*\.?[ _])?почт\w*|эл\w*\.?[ _]адрес\w*|имейл",
    "CARD": r"card(?:[ _]number)?|(?:номер[ _])?карт\w*",
    "PASSPORT": r"passport(?:[ _]number)?|паспорт\w*",
    "INN": r"inn|инн",
    "SNILS": r"snils|снилс",
    "ACCOUNT": r"account(?:[ _]number)?|(?:номер[ _])?сч[её]т\w*",
    "IBAN": r"iban",
    "BIK": r"bik|bic|бик",
    "BIRTHDATE": r"birth[ _]?date|date[ _]of[ _]birth|дат\w*[ _]рождения",
    "ADDRESS": r"address|адрес\w*",
    "LICENCE": r"licen[cs]e|водительск\w*(?:[ _]удостоверени\w*)?|удостоверени\w*",
    "POLICY": r"policy|полис\w*",
    "PLATE": r"plate|(?:гос)?номер\w*(?:[ _]\w+)?",
    "IP": r"ip(?:[ _-]?address|[ _-]?адрес\w*)?",
    "HANDLE": r"handle|ник\w*|аккаунт\w*",
    "SECRET": r"secret|секрет\w*|парол\w*|ссылк\w*|link",
    "ID": r"id|идентификатор\w*|документ\w*",
    "NAME": r"name|им(?:я|ени|енем)|фио",
    "TEXT": r"text|текст\w*",
}
_WORD = "|".join(f"(?P<{kind}>{called})" for kind, called in _CALLED.items())
_PLAIN = "|".join(_CALLED)
_OPENING, _CLOSING = "[【{<", "]】}>"
#: A mark in brackets, however it was rewritten, or bare as it was given; Markdown may have escaped it.
_MARK = re.compile(
    rf"\\?[\[【{{<]\s*(?:{_WORD})(?:\s|\\?_|[-:№#]){{0,3}}(?P<number>\d{{1,5}})\s*\\?[\]】}}>]"
    rf"|(?<![\w\\])(?-i:(?P<bare>{_PLAIN}))\\?_(?P<bare_number>\d{{1,5}})(?!\w)",
    re.IGNORECASE,
)
#: Characters after which an open bracket begins no mark any more.
_LONGEST = 48
_BARE_END = re.compile(r"(?<![\w\\])[A-Z]{1,12}(?:\\|\\?_\d{0,5})?\Z|\\\Z")
#: Longest text whose identifiers are remembered beyond its turn, in characters.
_KEPT = 4_000
#: A value as short as this is not looked for where no words tell what it is.
_SHORTEST = 4


class Vault:
    """Marks for the identifiers of one turn. The same value has the same mark in all its calls."""

    def __init__(self) -> None:
        self._marks: dict[tuple[Kind, str], str] = {}
        self._values: dict[str, str] = {}
        #: Every writing of a value that was seen.
        self._writings: dict[str, Kind] = {}
        self._counts: dict[Kind, int] = {}
        self._recognised: dict[str, list[Found]] = {}

    def __bool__(self) -> bool:
        """Whether anything has been masked."""
        return bool(self._values)

    def recognise(self, text: str) -> list[Found]:
        """The identifiers of a text; each text is looked at once a turn, and what turns share mostly once."""
        if text not in self._recognised:
            self._recognised[text] = _short(text) if len(text) <= _KEPT else recognise(text)
        return self._recognised[text]

    def learn(self, text: str, *, spare: Collection[str] = ()) -> None:
        """Give marks to the identifiers of a text. ``spare``: values, in canonical form, that stay as they are."""
        for one in self.recognise(text):
            value = text[one.start : one.end]
            if canonical(one.kind, value) not in spare:
                self._mark(one.kind, value)

    def mask(self, text: str) -> str:
        """The text with marks for what :meth:`learn` was shown, also where no words tell what it is."""
        found = [*_alike(text), *self.recognise(text), *self._repeated(text)]
        return _replaced(text, [one for one in found if self._is_known(one, text)], self._mark)

    def protect(self, text: str) -> str:
        """The text with what its author wrote as a mark put aside, so that nothing else comes back for it."""
        return _replaced(text, _alike(text), self._mark)

    def restore(self, text: str) -> str:
        """The values for the marks; what was never given out stays as it is."""
        return _MARK.sub(lambda match: self._values.get(_key(match), match.group()), text) if self else text

    def restore_growing(self, text: str) -> str:
        """Of a text that is still being written: all that is certain, up to what may become a mark."""
        return self.restore(text[: self._certain(text)])

    def _certain(self, text: str) -> int:
        if not self:
            return len(text)
        opened = max(map(text.rfind, _OPENING))
        if opened >= 0 and len(text) - opened <= _LONGEST and not any(char in text[opened:] for char in _CLOSING):
            return opened - (text[opened - 1 : opened] == "\\")
        tail = _BARE_END.search(text)
        if tail is None:
            return len(text)
        begun = tail.group().replace("\\", "")
        known = not begun or any(mark.startswith(begun) or begun.startswith(mark) for mark in self._values)
        return tail.start() if known else len(text)

    def _is_known(self, one: Found, text: str) -> bool:
        return one.kind == "TEXT" or (one.kind, canonical(one.kind, text[one.start : one.end])) in self._marks

    def _repeated(self, text: str) -> list[Found]:
        """Values that were recognised elsewhere, word for word."""
        return [
            Found(start, start + len(value), kind)
            for value, kind in self._writings.items()
            for start in _standing_alone(value, text)
        ]

    def _mark(self, kind: Kind, value: str) -> str:
        key = (kind, canonical(kind, value))
        if key not in self._marks:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            name = f"{kind}_{self._counts[kind]}"
            self._marks[key] = f"[{name}]"
        # it comes back as it was written last: in the question, where that has it
        self._values[self._marks[key][1:-1]] = value
        if kind != "TEXT" and len(value) >= _SHORTEST:
            self._writings[value] = kind
        return self._marks[key]


@lru_cache(maxsize=256)
def _short(text: str) -> list[Found]:
    """The rules of a prompt, passages and earlier lines come again and again."""
    return recognise(text)


def _standing_alone(value: str, text: str) -> Iterator[int]:
    """Where a value begins that is no part of a longer word; there may be thousands of values to look for."""
    start = text.find(value)
    while start >= 0:
        around = text[max(start - 1, 0) : start] + text[start + len(value) : start + len(value) + 1]
        if not any(char.isalnum() or char == "_" for char in around):
            yield start
        start = text.find(value, start + 1)


def _alike(text: str) -> list[Found]:
    """What is written as a mark is."""
    return [Found(match.start(), match.end(), "TEXT") for match in _MARK.finditer(text)]


def _key(match: re.Match[str]) -> str:
    """The name of a mark, as it was given: ``PHONE_1``."""
    groups = match.groupdict()
    if groups["bare"]:
        return f"{groups['bare']}_{groups['bare_number']}"
    kind = next(kind for kind in _CALLED if groups[kind])
    return f"{kind}_{int(groups['number'])}"


def _replaced(text: str, found: list[Found], mark: Callable[[Kind, str], str]) -> str:
    parts, at = [], 0
    for one in merged(found):
        parts += [text[at : one.start], mark(one.kind, text[one.start : one.end])]
        at = one.end
    return "".join([*parts, text[at:]])
