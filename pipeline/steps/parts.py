"""A message that asks two things, in two."""

from __future__ import annotations

import re

_SENTENCE = re.compile(r"(?<=[?!.;])\s+|\n+")
#: Where one sentence goes on to ask something else.
_AND = re.compile(
    r",?\s+(?:and also|and|also|plus|а также|и ещё|и еще|а ещё|а еще|и|а|та)\s+(?="
    r"(?:(?:скажите|подскажите|напишите|объясните|потом|вообще|если|могу|можно|нужно|надо)\b[\s,]*){0,2}"
    r"(?:как|когда|где|куда|откуда|сколько|почему|зачем|какая|какой|какие|какую|кому|кто|что|можно|могу|нужно|"
    r"есть ли|\w+ ли\b|\w+(?:ете|ите) ли\b|"
    r"how|what|when|where|why|who|which|can|could|do|does|is|are|will|should)\b)"
    r"|,\s+(?=(?:\w+(?:ете|ите|ёте)\b|и\s+\w+|а\s+\w+)[^,]{8,}\?)",
    re.IGNORECASE,
)
#: Words a part needs to be a question of its own.
_LEAST = 3


def parts(question: str) -> list[str]:
    """The two parts of a message that may ask two things; the whole alone where it does not look so."""
    sentences = [part.strip() for part in _SENTENCE.split(question) if _long(part)]
    if len(sentences) == 2:
        return sentences
    if len(sentences) > 2:
        asking = [part for part in sentences if part.endswith("?")]
        return asking if len(asking) == 2 else [question]
    cuts = [match for match in _AND.finditer(question) if _long(question[: match.start()])]
    for cut in cuts:
        if _long(question[cut.end() :]):
            return [question[: cut.start()].strip(), question[cut.end() :].strip()]
    return [question]


def _long(text: str) -> bool:
    return len(re.findall(r"\w+", text)) >= _LEAST
