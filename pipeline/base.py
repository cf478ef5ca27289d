"""The knowledge base in memory: its texts by item, and the inverted lists over them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Select, Table, select
from sqlmodel import Session

from storage.lexical import Features, LexicalIndex, Question, Scores
from storage.models import KnowledgeItem, KnowledgePhrase
from storage.slips import Slips
from storage.words import normalise

#: Texts up to which words are compared too; beyond it the vectors alone find the candidates.
LEXICAL_LIMIT = 150_000
#: Sentences shorter than this go with the next one: a lone "Yes." says nothing.
_SHORT = 25
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
#: Items named in one statement.
_NAMED = 500
_item: Table = KnowledgeItem.__table__  # type: ignore[attr-defined]
_phrase: Table = KnowledgePhrase.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Item:
    """What search needs of an item, as its columns: an object of the database costs ten times as much to look at."""

    id: str
    updated_at: datetime
    answer: str | None
    locale: str | None
    source: str
    document_id: str | None
    heading: str | None
    page: int | None
    status: str
    valid_from: datetime | None
    valid_until: datetime | None
    channels: Sequence[str]
    languages: Sequence[str]


@dataclass(frozen=True, slots=True)
class Text:
    """One phrasing, or one passage, of an item."""

    id: str
    text: str
    normal: str
    item: Item
    passage: bool


@dataclass(frozen=True)
class Base:
    """Texts in the order of their items; ``spans`` and ``part_spans`` say which texts and sentences are an item's."""

    texts: list[Text]
    rows: dict[str, int]
    #: The place in ``whole`` of each text's item.
    owners: list[int]
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

    def similarities(self, question: Question) -> list[Scores]:
        """Seven similarities of every item, each of shape (items,): of stems and letters with its phrasings, with the
        item as a whole, and with the best sentence of its answer; and of the words the glossary does not list."""
        own, whole, parts = (index.scores(question) for index in (self.phrases, self.items, self.parts))
        best = [np.maximum.reduceat(scores, self._first_texts) for scores in own]
        best += whole
        for scores in parts:
            found = np.zeros(len(self.whole), dtype=np.float32)
            if len(self._first_sentences):
                found[self._with_answer] = np.maximum.reduceat(scores, self._first_sentences)
            best.append(found)
        return [*best, self.items.unlisted(question)]

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
    """The active items of the base. ``old``: an earlier revision; only what has changed since is read and counted."""
    stamps = session.connection().execute(_active(_item.c.id, _item.c.updated_at).order_by(_item.c.id)).all()
    before = old.item_rows if old is not None else {}
    kept = {
        item: before[item]
        for item, stamp in stamps
        if old is not None and item in before and old.whole[before[item]].updated_at == stamp
    }
    fresh = _read_items(session, [item for item, _ in stamps if item not in kept])
    texts: list[Text] = []
    whole: list[Item] = []
    spans: list[tuple[int, int]] = []
    for item, _ in stamps:
        if old is not None and item in kept:
            first, last = old.spans[kept[item]]
            own = old.texts[first:last]
        else:
            own = fresh.get(item, [])
        if own:
            spans.append((len(texts), len(texts) + len(own)))
            whole.append(own[0].item)
            texts += own
    return build_base(texts, whole, spans, old)


def _read_items(session: Session, ids: Sequence[str]) -> dict[str, list[Text]]:
    """The texts of active items, by item; an item without any is left out."""
    columns = (*(_item.c[name] for name in Item.__slots__), _phrase.c.id, _phrase.c.text, _phrase.c.kind)
    joined = _active(*columns).join(_phrase, _phrase.c.item_id == _item.c.id)
    joined = joined.order_by(_item.c.id, _phrase.c.position, _phrase.c.id)
    found: dict[str, list[Text]] = {}
    # So many are read sooner together with all others than by name.
    everything = len(ids) > 10 * _NAMED
    for start in range(0, len(ids), len(ids) if everything else _NAMED):
        query = joined if everything else joined.where(_item.c.id.in_(ids[start : start + _NAMED]))
        item: Item | None = None
        for *values, phrase, text, kind in session.connection().execute(query):
            if item is None or item.id != values[0]:
                item = Item(*values)
            found.setdefault(item.id, []).append(Text(phrase, text, normalise(text), item, kind == "passage"))
    return found


def _active(*columns: ColumnElement[Any]) -> Select[Any]:
    return select(*columns).where(_item.c.status == "active")


def build_base(texts: list[Text], whole: list[Item], spans: list[tuple[int, int]], old: Base | None = None) -> Base:
    """The inverted lists over texts that are grouped by item."""
    counted: dict[str, Features] = {}
    before = old.counted if old is not None else {}
    lexical = len(texts) <= LEXICAL_LIMIT

    def features(text: str) -> Features:
        if text not in counted:
            counted[text] = before.get(text) or Features.of(text)
        return counted[text]

    owners = [row for row, (first, last) in enumerate(spans) for _ in range(first, last)]
    exact: dict[str, list[int]] = {}
    for owner, text in zip(owners, texts, strict=True):
        if not text.passage and owner not in (found := exact.setdefault(text.normal, [])):
            found.append(owner)
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
        owners=owners,
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
