"""Items that say the same twice, and items that answer one question in two ways.

Questions are compared by their normal form, by their words (stems, and letters for slips of the pen) and by nearness
in the live index; passages by their words. Numbers and negations must agree for two questions to be the same one:
"how to return" is not "how not to return", nor is the iPhone 12 the 13.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from sqlmodel import Session, col, select

from storage.models import KnowledgeItem, KnowledgePhrase
from storage.words import normalise, stems

By = Literal["exact", "words", "vectors"]
#: Similarity (Jaccard; cosine for vectors) from which two texts ask the same, and two answers say the same.
WORDS, LETTERS, VECTORS, ANSWERS = 0.8, 0.85, 0.93, 0.85
#: What two questions near in the index must share of their words where the letters are Cyrillic: the packaged
#: embedding model cannot read those, and finds nearly all such texts near one another.
CYRILLIC_WORDS = 0.5
#: Texts changed by one import up to which the index is asked at once; `ragline kb check` asks it for all.
ASKED_AT_ONCE = 200
#: Findings of one kind that are kept.
MOST = 1000

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NEGATION = re.compile(r"\b(?:not?|never|without|cannot|не|нет|без|нельзя|никогда|никак)\b|n['’]t\b")
_CYRILLIC = re.compile(r"[а-яё]", re.IGNORECASE)
_STRENGTH: dict[By, int] = {"exact": 2, "words": 1, "vectors": 0}


class Text(NamedTuple):
    """One indexed text and what is compared of its item."""

    id: str
    text: str
    passage: bool
    item: KnowledgeItem


@dataclass(frozen=True)
class Finding:
    """Two items. ``texts``: the question or passage of each that is the same; ``score`` 0 to 1, 1 for exact."""

    kind: Literal["duplicate", "contradiction"]
    by: By
    score: float
    items: tuple[str, str]
    texts: tuple[str, str]


class Near(NamedTuple):
    """Rows of two texts and how near they are, 0 to 1."""

    first: int
    second: int
    score: float


#: Told rows of texts, finds what is near each one in the live index.
Neighbours = Callable[[Sequence[int]], Iterable[Near]]


def read_texts(session: Session) -> list[Text]:
    """Everything that is not archived."""
    rows = session.exec(
        select(KnowledgePhrase, KnowledgeItem)
        .join(KnowledgeItem, col(KnowledgeItem.id) == KnowledgePhrase.item_id)
        .where(KnowledgeItem.status != "archived")
        .order_by(col(KnowledgePhrase.item_id), col(KnowledgePhrase.position))
    )
    return [
        Text(phrase.id, (item.answer or phrase.text) if phrase.kind == "passage" else phrase.text,
             phrase.kind == "passage", item)
        for phrase, item in rows
    ]  # fmt: skip


def find(
    texts: Sequence[Text], *, only: Collection[str] | None = None, neighbours: Neighbours | None = None
) -> list[Finding]:
    """Contradictions first, the most alike first; ``only``: pairs that have one of these items. One a pair of items."""
    found: dict[tuple[str, str], Finding] = {}
    chosen = None if only is None else {row for row, text in enumerate(texts) if text.item.id in set(only)}

    def judge(near: Near, by: By) -> None:
        first, second = texts[near.first], texts[near.second]
        kind = _kind(first, second, by)
        if kind is None:
            return
        pair = (first, second) if first.item.id < second.item.id else (second, first)
        ids = (pair[0].item.id, pair[1].item.id)
        known = found.get(ids)
        if known is None or (_STRENGTH[by], near.score) > (_STRENGTH[known.by], known.score):
            found[ids] = Finding(kind, by, round(near.score, 3), ids, (pair[0].text, pair[1].text))

    for passage in (False, True):
        rows = [row for row, text in enumerate(texts) if text.passage == passage]
        forms = {row: normalise(texts[row].text) for row in rows}
        for near in _equal(forms, texts, chosen):
            judge(near, "exact")
        distinct = list({form: row for row, form in reversed(forms.items()) if form}.values())
        for features, threshold in ((_stems, WORDS), (_trigrams, LETTERS)):
            sets = {row: frozenset(features(forms[row])) for row in distinct}
            for near in alike(sets, threshold, chosen):
                judge(near, "words")
    if neighbours:
        asked = [row for row in (range(len(texts)) if chosen is None else sorted(chosen)) if not texts[row].passage]
        for near in neighbours(asked):
            judge(near, "vectors")
    ordered = sorted(found.values(), key=lambda one: (one.kind != "contradiction", -one.score, one.items))
    kept: Counter[str] = Counter()
    return [one for one in ordered if kept.update([one.kind]) or kept[one.kind] <= MOST]


def alike(sets: dict[int, frozenset[str]], threshold: float, chosen: Collection[int] | None = None) -> Iterator[Near]:
    """Pairs of sets with a Jaccard similarity of ``threshold`` or more, of which one is ``chosen``.

    Two such sets share one of the few rarest features of each, so only those are looked up ("prefix filtering":
    Chaudhuri, Ganti and Kaushik, "A primitive operator for similarity joins", ICDE 2006).
    """
    counts = Counter(feature for features in sets.values() for feature in features)
    holders: dict[str, list[int]] = defaultdict(list)
    for row, features in sorted(sets.items(), key=lambda pair: len(pair[1])):
        ordered = sorted(features, key=lambda feature: (counts[feature], feature))
        rarest = ordered[: len(ordered) - math.ceil(threshold * len(ordered)) + 1]
        seen: set[int] = set()
        for feature in rarest:
            for other in holders[feature]:
                if other in seen or (chosen is not None and row not in chosen and other not in chosen):
                    continue
                seen.add(other)
                if len(sets[other]) < threshold * len(features):
                    continue
                shared = len(features & sets[other])
                score = shared / (len(features) + len(sets[other]) - shared)
                if score >= threshold:
                    yield Near(other, row, score)
            holders[feature].append(row)


def _equal(forms: dict[int, str], texts: Sequence[Text], chosen: Collection[int] | None) -> Iterator[Near]:
    """Rows of one normal form: each item beside the first that has it."""
    groups: dict[str, list[int]] = defaultdict(list)
    for row, form in forms.items():
        if form:
            groups[form].append(row)
    for rows in groups.values():
        items = {texts[row].item.id: row for row in reversed(rows)}
        first, *others = sorted(items.values())
        for other in others:
            if chosen is None or first in chosen or other in chosen:
                yield Near(first, other, 1.0)


def _kind(first: Text, second: Text, by: By) -> Literal["duplicate", "contradiction"] | None:
    """What two near texts make of their items; None where they are no conflict."""
    if first.item.id == second.item.id or first.passage != second.passage or not _meet(first.item, second.item):
        return None
    alike = _marks(first.text) == _marks(second.text)
    if first.passage:
        if alike:
            return "duplicate"
        # The same words with other numbers: a price or a term that one document has and another has not.
        return "contradiction" if first.item.document_id != second.item.document_id else None
    if not alike or (by == "vectors" and not _readable(first.text, second.text)):
        return None
    return "duplicate" if _same_answer(first.item, second.item) else "contradiction"


def _marks(text: str) -> tuple[list[str], bool]:
    """What turns the meaning of the same words: numbers, and whether there is a negation."""
    lowered = text.lower()
    return sorted(_NUMBER.findall(lowered)), len(_NEGATION.findall(lowered)) % 2 == 1


def _readable(first: str, second: str) -> bool:
    return not (_CYRILLIC.search(first) or _CYRILLIC.search(second)) or (
        _jaccard(_stems(first), _stems(second)) >= CYRILLIC_WORDS
    )


def _same_answer(first: KnowledgeItem, second: KnowledgeItem) -> bool:
    if first.answer is None or second.answer is None:
        return False  # the id stands for the answer
    if normalise(first.answer) == normalise(second.answer):
        return True
    same_marks = _marks(first.answer) == _marks(second.answer)
    return same_marks and _jaccard(_stems(first.answer), _stems(second.answer)) >= ANSWERS


def _stems(text: str) -> set[str]:
    return set(stems(text))


def _trigrams(text: str) -> set[str]:
    """The letter trigrams of a text, words padded with a blank."""
    padded = f" {normalise(text)} "
    return {padded[i : i + 3] for i in range(len(padded) - 2)}


def _jaccard(first: set[str], second: set[str]) -> float:
    return len(first & second) / (len(first | second) or 1)


def _meet(first: KnowledgeItem, second: KnowledgeItem) -> bool:
    """Whether one customer can come to see both."""
    if first.locale and second.locale and _language(first.locale) != _language(second.locale):
        return False
    if first.channels and second.channels and not set(first.channels) & set(second.channels):
        return False
    languages = [{_language(tag) for tag in item.languages} for item in (first, second)]
    if all(languages) and not languages[0] & languages[1]:
        return False
    return _before(first.valid_from, second.valid_until) and _before(second.valid_from, first.valid_until)


def _language(tag: str) -> str:
    return tag.lower().replace("_", "-").partition("-")[0]


def _before(start: datetime | None, end: datetime | None) -> bool:
    return start is None or end is None or start < end
