"""Whether an answer rests on the passages it cites, as far as that can be told without a model.

What holds whatever the model says, of an answer that passes:

- it cites, or quotes, at least one of the passages it was given;
- each of its links, e-mail addresses, phone numbers, handles, amounts of money and percentages is one of the cited
  passages; each other number, month and time is one of theirs or of the conversation's;
- its sentences share words with those passages, unless customer and passages have different languages;
- it repeats no row of words, and no long row of letters, of its instructions, and has a bounded length.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from pipeline.figures import CONTACTS, Figures, figures, passage_figures, plain, without_figures
from pipeline.marks import MARK, unmarked
from pipeline.stopwords import EMPTY, language, script
from storage.words import normalise, stems

Reason = Literal["uncited", "figures", "words", "leak", "length", "unsupported"]

#: Shares of content words that must stand in the cited passages: of one sentence, and of the answer. Chosen on the
#: examples of split dev in tests/evals/data/grounding.jsonl; docs/answers.md has the scores of both splits.
SENTENCE_FLOOR, ANSWER_FLOOR = 0.3, 0.4
#: A sentence with fewer content words than this is judged with the whole answer only.
_FEW_WORDS = 3
#: Words, and letters, in a row that an answer may not share with its instructions.
_LEAKED_WORDS, _LEAKED_LETTERS = 6, 30
#: Words in a row that an answer must share with a passage it does not cite for the passage to count as its source.
_QUOTED_WORDS = 6
#: Characters a token makes at most in the languages customers write.
_CHARACTERS_A_TOKEN = 6
_STEM = 4
#: Characters of a passage from which its language is told.
_TELLING = 500
_SENTENCE = re.compile(r"(?<=[.!?;…])\s+|\n+")
#: The end of a sentence with its quotation marks and marks of passages, or of a line.
_END = re.compile(r"[.!?…][»”\"')]{0,3}(?:\s{0,8}\[[\d,; ]{1,20}\])*(?=\s|$)|(?<=[^\s:])\s*\n")


@dataclass(frozen=True)
class Source:
    """A passage as the model was shown it."""

    title: str
    text: str

    @property
    def whole(self) -> str:
        return f"{self.title}\n{self.text}"


@dataclass(frozen=True)
class Reply:
    """What a model said. ``text``: without marks and block markers; ``cited``: numbers of the passages, from 0."""

    text: str
    cited: tuple[int, ...]


@dataclass(frozen=True)
class Verdict:
    """``reason`` None: supported. ``shown``: the part of the answer that is meant."""

    reason: Reason | None = None
    shown: str = ""


def read_reply(said: str, sources: Sequence[Source]) -> Reply:
    """A model's answer without its marks, and the passages it cites, or quotes at length, in order of first use."""
    numbers = [int(number) - 1 for group in MARK.findall(said) for number in re.split(r"[,;]", group)]
    text = unmarked(said).strip()
    words = normalise(text)
    rows = _rows(words.split(), _QUOTED_WORDS)
    quoted = [number for number, source in enumerate(sources) if _quotes(words, rows, source)]
    return Reply(text, tuple(n for n in dict.fromkeys([*numbers, *quoted]) if 0 <= n < len(sources)))


def whole_sentences(said: str) -> str:
    """A text that was cut off, up to the end of its last whole sentence or line, marks included; empty without one."""
    ends = [match.end() for match in _END.finditer(said)]
    return said[: ends[-1]].rstrip() if ends else ""


def check(
    reply: Reply,
    sources: Sequence[Source],
    *,
    question: str,
    earlier: Sequence[str] = (),
    instructions: str = "",
    max_tokens: int = 1000,
) -> Verdict:
    """Whether the reply may be sent. ``earlier``: the lines before the question that the model was shown."""
    cited = [sources[number] for number in reply.cited]
    if len(reply.text) > max_tokens * _CHARACTERS_A_TOKEN:
        return Verdict("length")
    if _leaks(reply.text, instructions, sources):
        return Verdict("leak")
    if not cited:
        return Verdict("uncited")
    if strange := _strange_figures(reply.text, cited, [question, *earlier]):
        return Verdict("figures", ", ".join(strange))
    if not _other_language(reply.text, question, cited) and (part := _unsaid(reply.text, question, cited)):
        return Verdict("words", part)
    return Verdict()


def _quotes(words: str, rows: set[tuple[str, ...]], source: Source) -> bool:
    passage, own = _passage(source.text)
    if passage == words or rows & own:
        return True
    return " " in passage and f" {passage} " in f" {words} "


def _rows(words: Sequence[str], length: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def _leaks(text: str, instructions: str, sources: Sequence[Source]) -> bool:
    """Whether the text repeats its instructions, also spelled with other blanks and signs between the letters."""
    words, letters = _secret(instructions)
    shared = _rows(normalise(text).split(), _LEAKED_WORDS) & words
    if shared and shared - {row for one in sources for row in _rows(normalise(one.whole).split(), _LEAKED_WORDS)}:
        return True
    said = _letters(text)
    spelled = (_windows(said) | _windows(said[::-1])) & letters
    return bool(spelled) and not spelled <= {row for one in sources for row in _windows(_letters(one.whole))}


@lru_cache(maxsize=64)
def _secret(instructions: str) -> tuple[set[tuple[str, ...]], set[str]]:
    """The rows of words, and of letters, that an answer may not have."""
    return _rows(normalise(instructions).split(), _LEAKED_WORDS), _windows(_letters(instructions))


@lru_cache(maxsize=4096)
def _passage(text: str) -> tuple[str, set[tuple[str, ...]]]:
    """A passage's words, and the rows of them that count as a quotation. It is looked at with each question again."""
    words = normalise(text)
    return words, _rows(words.split(), _QUOTED_WORDS)


def _windows(letters: str) -> set[str]:
    return {letters[i : i + _LEAKED_LETTERS] for i in range(len(letters) - _LEAKED_LETTERS + 1)}


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, plain(text).lower()))


def _strange_figures(text: str, cited: Sequence[Source], conversation: Sequence[str]) -> list[str]:
    """The figures of an answer that it may not have."""
    said = figures(text)
    if not said:
        return []
    passages, spoken = Figures.of((source.whole for source in cited), passage_figures), Figures.of(conversation)
    only_passages = (*CONTACTS, "money", "percent")
    strange = (
        one.shown for one in said
        if not passages.has(one) and (one.kind in only_passages or not spoken.has(one))
    )  # fmt: skip
    return list(dict.fromkeys(strange))


def _other_language(text: str, question: str, cited: Sequence[Source]) -> bool:
    """Whether the passages are in another language than the customer, whose language the answer is in."""
    passages = "\n".join(source.text[:_TELLING] for source in cited)
    written, asked = script(text), script(question)
    if written != script(passages):
        return asked in (written, None)
    own, theirs = language(text), language(passages)
    return own is not None and theirs is not None and own != theirs and language(question) in (own, None)


def _unsaid(text: str, question: str, cited: Sequence[Source]) -> str:
    """The sentence, or the whole text, whose words are too few of the passages'; empty where all are enough."""
    known, asked = _Stems(*map(_stems_of, cited)), _Stems(frozenset(_content(question)))
    found = total = 0.0
    for sentence in _SENTENCE.split(text):
        content = _content(sentence)
        shared = sum(stem in known for stem in content)
        judged = set(_content(without_figures(sentence)))
        # What is repeated of the question is neither borne out nor made up, and figures were judged as such.
        counted = sum(stem in known or (stem in judged and stem not in asked) for stem in content) or len(content)
        if counted >= _FEW_WORDS and shared < SENTENCE_FLOOR * counted:
            return sentence
        found, total = found + shared, total + counted
    return text if found < ANSWER_FLOOR * total else ""


def _content(text: str) -> list[str]:
    return [stem for stem in stems(text) if stem not in EMPTY and not stem[0].isdigit() and len(stem) > 1]


@lru_cache(maxsize=4096)
def _stems_of(source: Source) -> frozenset[str]:
    return frozenset(_content(source.whole))


class _Stems:
    """The content words of a text. A word is among them that begins as one of them does: вернуть, вернём."""

    def __init__(self, *stems: frozenset[str]) -> None:
        self._whole = frozenset().union(*stems)
        self._begun = {stem[:_STEM] for stem in self._whole if len(stem) >= _STEM}

    def __contains__(self, stem: object) -> bool:
        return stem in self._whole or (isinstance(stem, str) and len(stem) >= _STEM and stem[:_STEM] in self._begun)
