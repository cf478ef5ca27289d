"""How many messages of each kind are recognised, of ``requests.tsv``: ways of writing, made up for this test.

The file has messages in Russian, English and Ukrainian, with slips, in Latin letters and on the wrong layout; its
questions name people, calls and machines, or begin with a courtesy.
"""

import csv
import time
from pathlib import Path

import pytest

from pipeline.steps.classify import classify
from pipeline.steps.requests import request_of
from pipeline.turn import Turn, TurnMessage

_KIND = {"greeting": "small_talk", "thanks": "small_talk", "farewell": "small_talk"}


def _messages(kind: str) -> list[str]:
    with Path(__file__).with_name("requests.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [row["text"] for row in rows if row["kind"] == kind]


@pytest.mark.parametrize(("kind", "least"), [("human", 0.95), ("small_talk", 0.95), ("question", 0.98)])
def test_messages_of_a_kind_are_recognised(kind: str, least: float) -> None:
    messages = _messages(kind)
    found = [classify(Turn(id="t", messages=(TurnMessage(kind="text", text=text),))).request for text in messages]
    missed = {
        text: request for text, request in zip(messages, found, strict=True) if _KIND.get(request, request) != kind
    }
    assert len(messages) >= 35
    assert len(missed) <= (1 - least) * len(messages), missed


@pytest.mark.parametrize("word", ["human", "живой", "are you human", "с кем", "спасибо за", "talk to", "one of"])
def test_no_message_takes_long_to_read(word: str) -> None:
    request_of(word)
    began = time.perf_counter()
    for times in (8, 11, 29, 5_000):
        request_of(f"{word} " * times + "щз")
    assert time.perf_counter() - began < 1
