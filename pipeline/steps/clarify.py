"""Clarify: when to ask back which of a few items is meant, and what a press or a typed number chooses.

Pure: what was offered comes from a callable. The data of a button names the turn that offered and the item, and both
are looked up in the conversation of the press, so that a forged one finds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Literal, NamedTuple, Protocol

from pipeline.prompts import load
from pipeline.steps.retrieve import Passage, Retrieval
from pipeline.turn import Answer, Choice, Option, Turn
from storage.offers import Chosen, Offer
from storage.words import normalise

#: Items offered at most.
MOST = 3
#: How likely an item has to be, in shares of the likeliest one, to be offered beside it.
CLOSE = 0.4
#: From this share on, even a language model that sees both cannot know which of them is meant.
EVEN = 0.8
#: Longest title of an option, in characters.
LONGEST = 100

#: The offer of a turn of the same conversation, or with None the one that what was written now may answer.
Offers = Callable[[str | None], Offer | None]

_DATA = re.compile(r"c:([0-9a-f-]{36}):([0-9a-f]{12}|none)")
_NUMBER = re.compile(r"(?:(?:№|#|number|option|variant|номер|вариант|пункт)\s*)?([1-9])\s*[).]?")
_ORDINAL = re.compile(
    r"(?:the )?(first|second|third|fourth|перв(?:ый|ое|ая)|втор(?:ой|ое|ая)|трет(?:ий|ье|ья)|четв[её]рт(?:ый|ое|ая))"
    r"(?: one| вариант)?"
)
_PLACES = {"fi": 1, "se": 2, "th": 3, "fo": 4, "пе": 1, "вт": 2, "тр": 3, "че": 4}


class Threshold(Protocol):
    """What :func:`close_candidates` needs of the answer policy."""

    @property
    def clarify_threshold(self) -> float: ...


class Button(NamedTuple):
    """What a channel shows and what a press of it carries: at most 64 bytes."""

    title: str
    data: str


def close_candidates(retrieval: Retrieval, policy: Threshold) -> list[Passage]:
    """The one to three items to offer, likeliest first; empty where asking back does not help.

    A score is the probability that the item answers, and one at most is meant: their sum is the probability that the
    right one is offered, and has to reach the threshold. The likeliest has to be likely enough to be shown to a model:
    three guesses are no offer. Items that read the same or say the same are no choice.
    """
    likeliest = max((passage.score for passage in retrieval.passages), default=0.0)
    found: list[Passage] = []
    told: set[str] = set()
    for passage in retrieval.passages:
        own = {normalise(title_of(passage)), passage.answer}
        if passage.question is not None and passage.score >= CLOSE * likeliest > 0 and not own & told:
            found.append(passage)
            told |= own
    found = found[:MOST]
    enough = sum(passage.score for passage in found) >= policy.clarify_threshold
    return found if enough and likeliest >= retrieval.grounded else []


def is_even(candidates: list[Passage], retrieval: Retrieval) -> bool:
    """Whether two of them are about as likely as whatever is the likeliest."""
    return len(candidates) > 1 and candidates[1].score >= EVEN * max(passage.score for passage in retrieval.passages)


def title_of(passage: Passage) -> str:
    """The question on one line, cut to :data:`LONGEST`."""
    return cut(" ".join((passage.question or "").split()), LONGEST)


def cut(text: str, longest: int) -> str:
    """``text`` in at most ``longest`` characters, with an ellipsis where something is left out."""
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def ask_back(candidates: list[Passage], language: str, confidence: float) -> Answer:
    """The question which item is meant, or whether it is the one."""
    one = len(candidates) == 1
    none = Option(id=None, title=load("reply_clarify_none").render(language=language, one=one))
    options = (*(Option(id=passage.id, title=title_of(passage)) for passage in candidates), none)
    text = load("reply_clarify").render(language=language, one=one)
    return Answer(text=text, mode="clarify", confidence=confidence, options=options)


def answer_to(choice: Choice, language: str) -> Answer | None:
    """What is said to a choice that no item answers; None where one does."""
    if choice.outcome == "none":
        text = load("reply_none_fits").render(language=language)
        return Answer(text=text, mode="unknown", confidence=0.0, flag="no_answer")
    if choice.outcome == "over":
        return Answer(text=load("reply_clarify_over").render(language=language), mode="clarify", confidence=0.0)
    if choice.outcome == "repeated":
        text = load("reply_answered_above").render(language=language)
        return Answer(text=text, mode="direct", confidence=1.0, repeated=True)
    return None


def listed(text: str, options: tuple[Option, ...], language: str) -> str:
    """The question with its options as a numbered list, for channels that show no buttons."""
    lines = "\n".join(f"{number}. {option.title}" for number, option in enumerate(options, 1))
    return f"{text}\n\n{lines}\n\n{load('reply_clarify_number').render(language=language)}"


def button(turn_id: str, option: Option, title: str) -> Button:
    """The button of an option that the turn offers."""
    return Button(title, f"c:{turn_id}:{_key(option.id)}")


def _key(item_id: str | None) -> str:
    return "none" if item_id is None else sha256(item_id.encode()).hexdigest()[:12]


def choose(turn: Turn, offers: Offers) -> Choice | None:
    """What the customer chose of an offer; None where they wrote something else."""
    presses = [message for message in turn.messages if message.kind == "callback"]
    if presses:  # of several the newest counts
        return _pressed(presses[-1].data or presses[-1].text, offers)
    lines = [line for message in turn.messages for line in message.text.splitlines() if line.strip()]
    if any(message.kind != "text" for message in turn.messages) or len(lines) != 1 or len(lines[0]) > LONGEST + 20:
        return None
    offer = offers(None)
    return _typed(lines[0], offer) if offer else None


def _pressed(data: str, offers: Offers) -> Choice:
    named = _DATA.fullmatch(data)
    offer = offers(named.group(1)) if named else None
    for option in offer.options if offer and named else ():
        if offer and named and _key(option.id) == named.group(2):
            return _choice(offer, option.id, option.title, repeated=option.id in offer.answered)
    return Choice(outcome="over")


def _typed(line: str, offer: Offer) -> Choice | None:
    words = " ".join(line.lower().split()).strip(" .!")
    number, ordinal = _NUMBER.fullmatch(words), _ORDINAL.fullmatch(words)
    position = int(number.group(1)) if number else _PLACES[ordinal.group(1)[:2]] if ordinal else 0
    meant = normalise(line)
    for at, option in enumerate(offer.options, 1):
        if at == position or (meant and meant == normalise(option.title)):
            return _choice(offer, option.id, option.title)
    return None


def _choice(offer: Offer, item_id: str | None, title: str, *, repeated: bool = False) -> Choice:
    outcome: Literal["item", "none", "repeated"] = "repeated" if repeated else "none" if item_id is None else "item"
    return Choice(outcome=outcome, offer=offer.turn_id, item=item_id, title=title, question=offer.question)


def retrieval_of(choice: Choice, item: Chosen) -> Retrieval:
    """The chosen item as what was found: nobody knows better than the customer what was meant."""
    answer = item.answer if item.answer is not None else item.id
    passage = Passage(id=item.id, score=1.0, question=choice.title, answer=answer, locale=item.locale)
    return Retrieval(passages=(passage,), confidence=1.0)
