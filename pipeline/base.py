"""The knowledge base in memory: its texts by item, and the inverted lists over them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sqlmodel import Session, col, select

from storage.lexical import Features, LexicalIndex, Scores, normalise
from storage.models import KnowledgeItem, KnowledgePhrase
from storage.slips import Slips

#: Texts up to which words are compared too; beyond it the vectors alone find the candidates.
LEXICAL_LIMIT = 150_000
#: Sentences shorter than this go with the next one: a lone "Yes." says nothing.
_SHORT = 25
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")


@dataclass(frozen=True, slots=True)
class Item:
    """What search needs of an item: a row of the database costs ten times as much to look at."""

    id: str
    answer: str | None
    locale: str | None
    source: str
    document_id: str | None
    heading: str | None
    page: int | None
    status: str
    valid_from: datetime | None
    valid_until: datetime | None
    channels: tuple[str, ...]
    languages: tuple[str, ...]

    @classmethod
    def of(cls, row: KnowledgeItem) -> Item:
        return cls(
            row.id, row.answer, row.locale, row.source, row.document_id, row.heading, row.page, row.status,
            row.valid_from, row.valid_until, tuple(row.channels), tuple(row.languages),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Text:
    """One phrasing, or one passage, of an item. ``item_row``: the item's place in :attr:`Base.whole`."""

    id: str
    text: str
    normal: str
    item: Item
    item_row: int
    passage: bool


@dataclass(frozen=True)
class Base:
    """Texts in the order of their items; ``spans`` and ``part_spans`` say which texts and sentences are an item's."""

    texts: list[Text]
    rows: dict[str, int]
    whole: list[Item]
    item_rows: dict[str, int]
    spans: list[tuple[int, int]]
    part_spans: list[tuple[int, int]]
    phrases: LexicalIndex
    items: LexicalIndex
    parts: LexicalIndex
    slips: Slips
    #: The items that have a phrasing of these very words.
    exact: dict[str, tuple[int, ...]]
    #: What was counted of a text is kept for the next revision: an edit then costs no more than what it changed.
    counted: dict[str, Features] = field(repr=False)

    def similarities(self, question: Features) -> list[Scores]:
        """Six similarities of every item, each of shape (items,): of stems and letters with its phrasings, with the
        item as a whole, and with the best sentence of its answer."""
        own, whole, parts = (index.scores(question) for index in (self.phrases, self.items, self.parts))
        best = [np.maximum.reduceat(scores, self._first_texts) for scores in own]
        best += whole
        for scores in parts:
            found = np.zeros(len(self.whole), dtype=np.float32)
            if len(self._first_sentences):
                found[self._with_answer] = np.maximum.reduceat(scores, self._first_sentences)
            best.append(found)
        return best

    def count_texts(self, seen: NDArray[np.bool_]) -> int:
        """Texts of the items that are seen, one boolean an item."""
        return int(self._sizes[seen].sum())

    @cached_property
    def _first_texts(self) -> NDArray[np.intp]:
        return np.array([first for first, _ in self.spans], dtype=np.intp)

    @cached_property
    def _sizes(self) -> NDArray[np.intp]:
        return np.array([last - first for first, last in self.spans], dtype=np.intp)

    @cached_property
    def _first_sentences(self) -> NDArray[np.intp]:
        return np.array([first for first, last in self.part_spans if last > first], dtype=np.intp)

    @cached_property
    def _with_answer(self) -> NDArray[np.bool_]:
        return np.array([last > first for first, last in self.part_spans], dtype=bool)


def read_base(session: Session, old: Base | None = None) -> Base:
    """The active items of the base. ``old``: an earlier revision, whose work is used again."""
    found = session.exec(
        select(KnowledgePhrase, KnowledgeItem)
        .join(KnowledgeItem, col(KnowledgeItem.id) == KnowledgePhrase.item_id)
        .where(KnowledgeItem.status == "active")
        .order_by(col(KnowledgeItem.id), col(KnowledgePhrase.position), col(KnowledgePhrase.id))
    ).all()
    texts: list[Text] = []
    whole: list[Item] = []
    spans: list[tuple[int, int]] = []
    for phrase, row in found:
        if not whole or whole[-1].id != row.id:
            whole.append(Item.of(row))
            spans.append((len(texts), len(texts)))
        normal = normalise(phrase.text)
        texts.append(Text(phrase.id, phrase.text, normal, whole[-1], len(whole) - 1, phrase.kind == "passage"))
        spans[-1] = (spans[-1][0], len(texts))
    return build_base(texts, whole, spans, old)


def build_base(texts: list[Text], whole: list[Item], spans: list[tuple[int, int]], old: Base | None = None) -> Base:
    """The inverted lists over texts that are grouped by item."""
    counted: dict[str, Features] = {}
    before = old.counted if old is not None else {}
    lexical = len(texts) <= LEXICAL_LIMIT

    def features(text: str) -> Features:
        if text not in counted:
            counted[text] = before.get(text) or Features.of(text)
        return counted[text]

    exact: dict[str, list[int]] = {}
    for text in texts:
        if not text.passage and text.item_row not in (found := exact.setdefault(text.normal, [])):
            found.append(text.item_row)
    sentences: list[str] = []
    part_spans: list[tuple[int, int]] = []
    together: list[str] = []
    for item, (first, last) in zip(whole, spans, strict=True):
        own = [text.text for text in texts[first:last]]
        answer = item.answer or ""
        begin = len(sentences)
        sentences += split(answer) if lexical else []
        part_spans.append((begin, len(sentences)))
        together.append(answer if texts[first].passage else "\n".join([*own, answer]).strip())
    return Base(
        texts=texts,
        rows={text.id: row for row, text in enumerate(texts)},
        whole=whole,
        item_rows={item.id: row for row, item in enumerate(whole)},
        spans=spans,
        part_spans=part_spans,
        phrases=LexicalIndex([features(text.text) if lexical else NOTHING for text in texts]),
        items=LexicalIndex([features(text) if lexical else NOTHING for text in together], whole=True),
        parts=LexicalIndex([features(text) for text in sentences]),
        slips=Slips(together if lexical else ()),
        exact={words: tuple(items) for words, items in exact.items()},
        counted=counted,
    )


def split(text: str) -> list[str]:
    """The sentences of a text, short ones joined to the next."""
    parts: list[str] = []
    held = ""
    for sentence in _SENTENCE.split(text.strip()):
        held = f"{held} {sentence}".strip()
        if len(held) >= _SHORT:
            parts.append(held)
            held = ""
    if held:
        parts = [*parts[:-1], f"{parts[-1]} {held}"] if parts else [held]
    return parts


NOTHING = Features.of("")
