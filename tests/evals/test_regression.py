"""Kept answers: what counts as a change, and what a language model is asked for it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.evaluation.asking import Base
from pipeline.evaluation.regression import AnswerSet, Kept, answer_set, differences, read_answers, write_answers
from pipeline.llm import Completion
from pipeline.turn import Usage
from ragline.errors import ConfigurationError
from ragline.settings import Settings
from storage import knowledge, migrate
from storage.embedder import make_embedder
from storage.knowledge_files import ItemRow
from storage.session import Database, make_engine
from storage.vectors.memory import MemoryStore

DIRECT = Kept(("q",), "direct", ("a",), "Yes.", None, 0.9)
GROUNDED = Kept(("q",), "grounded", ("a", "b"), "Yes, it is.", "digest", 0.5)


class Scripted:
    """A language model that says what it is given, in turn, and counts how often it is asked."""

    def __init__(self, *texts: str) -> None:
        self.texts, self.asked = list(texts), 0

    def complete(self, messages: Sequence[dict[str, str]], *, max_tokens: int, **_: object) -> Completion:
        self.asked += 1
        return Completion(self.texts.pop(0), Usage())

    def count_tokens(self, text: str) -> int:
        return len(text.split())


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        (DIRECT, DIRECT, ()),
        (DIRECT, replace(DIRECT, confidence=0.8), ()),
        (DIRECT, replace(DIRECT, text="No."), ("text",)),
        (DIRECT, replace(DIRECT, items=("b",)), ("items",)),
        (GROUNDED, replace(GROUNDED, text="It is."), ()),
        (GROUNDED, replace(GROUNDED, prompt="other"), ("prompt",)),
        (GROUNDED, replace(GROUNDED, items=("b", "a")), ("items",)),
        (GROUNDED, DIRECT, ("mode", "items", "text")),
    ],
)
def test_what_counts_as_a_change(before: Kept, after: Kept, changed: tuple[str, ...]) -> None:
    assert [one.changed for one in differences([before], [after])] == ([changed] if changed else [])


def test_a_model_is_asked_only_where_it_is_wanted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/kb.sqlite3"
    migrate.upgrade(url)
    settings = Settings.model_validate({"answer": {"modes": ["grounded"]}, "knowledge": {"store": "memory"}})
    base = Base(settings, Database(make_engine(url)), MemoryStore(), make_embedder("minilm"))
    items = [ItemRow("dogs", "On a lead.", ["May I bring my dog?"]), ItemRow("cats", "No.", ["May I bring my cat?"])]
    knowledge.put_items(base.database, items, source="test")
    base.bring_up_to_date(lambda done: None)

    def answers(model: Scripted, *, asked: bool) -> Kept:
        found = answer_set([("May I bring my dog?",)], base, model=model, model_asked=asked, progress=lambda done: None)
        return found.answers[0]

    silent = Scripted()
    unasked = answers(silent, asked=False)
    assert (silent.asked, unasked.mode, unasked.items) == (0, "grounded", ("dogs", "cats"))
    first, second = (answers(Scripted(text), asked=True) for text in ("Yes [1].", "Dogs may come [1]."))
    assert (first.items, first.prompt, first.text) == (("dogs",), unasked.prompt, "Yes.")
    assert differences([first], [second]) == [], "in other words, resting on the same item"
    assert differences([first], [answers(Scripted("NO_ANSWER"), asked=True)])[0].changed == ("mode", "items")
    knowledge.put_items(base.database, [replace(items[0], answer="No longer.")], source="test")
    assert differences([unasked], [answers(silent, asked=False)])[0].changed == ("prompt",)
    base.database.close()


def test_a_set_is_read_as_it_was_written(tmp_path: Path) -> None:
    kept = AnswerSet((DIRECT, replace(GROUNDED, question=("привет", "q"))), model_asked=False)
    write_answers(tmp_path / "kept.json", kept)
    assert read_answers(tmp_path / "kept.json") == kept


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no kept answers"),
        (json.dumps({"version": 0, "answers": [], "model_asked": False}), "of another version"),
        (json.dumps({"version": 1, "answers": [{"question": ["q"]}], "model_asked": False}), "holds no kept answers"),
    ],
)
def test_a_file_that_is_no_set_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "kept.json").write_text(content)
    with pytest.raises(ConfigurationError, match=reason):
        read_answers(tmp_path / "kept.json")
