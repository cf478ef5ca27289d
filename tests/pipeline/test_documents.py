"""Answers from documents: cited to source and page, and only to whom they may be shown."""

import re
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.found import Found
from pipeline.llm import Completion
from pipeline.run import search_step
from pipeline.search import FRESH, KnowledgeSearcher
from pipeline.steps.generate import Policy, generate
from pipeline.steps.retrieve import Retrieval, retrieve
from pipeline.turn import Citation, Classification, Usage
from ragline.clock import utcnow
from storage import index, knowledge, migrate
from storage.documents.folder import Folder
from storage.documents.importing import Report, import_from
from storage.documents.sandbox import Sandbox
from storage.embedder import make_embedder
from storage.knowledge_files import ItemRow
from storage.session import Database, make_engine
from storage.vectors.memory import MemoryStore
from storage.visibility import Scope, Visibility
from tests.support import documents as made

POLICY = Policy(modes=("direct", "grounded"), direct_threshold=0, grounded_threshold=0, history_tokens=0, max_tokens=99)
KETTLE = [
    [("Kettle K2 manual", 24), ("Safety", 16), ("Never put the kettle under running water.", 11)],
    [("Cleaning", 16), ("Descale the kettle with citric acid once a month.", 11)],
    [("Warranty", 16), ("The warranty of the kettle lasts twenty-four months.", 11)],
    [("Доставка", 16), ("Курьер привозит чайник за два дня.", 11)],
]
RETURNS = [
    ["# Returns", "An unused item can be returned within fourteen days of delivery."],
    ["# Refunds", "A refund reaches the card in five working days."],
    ["# Sizes", [["Size", "Chest"], ["Large", "one hundred centimetres"]]],
]
STORES = """<html><head><title>Our stores</title></head><body><nav>Menu Cart</nav><main>
<h2>Parking</h2><p>Parking next to the store is free for the first two hours.</p>
<h2>Pets</h2><p>Dogs on a leash are welcome in every store.</p></main></body></html>"""


class Quoting:
    """A language model that answers with the passage that has the word it was told to look for."""

    def __init__(self, word: str) -> None:
        self.word = word

    def complete(self, messages: Sequence[dict[str, str]], *, max_tokens: int, **_: object) -> Completion:
        passages = re.findall(r'<passage number="(\d+)">(.*?)</passage>', messages[1]["content"], re.DOTALL)
        number, text = next((n, text) for n, text in passages if self.word in text)
        return Completion(f"{text.strip().splitlines()[-1]} [{number}]", Usage(model="test/quoting"))

    def count_tokens(self, text: str) -> int:
        return len(text)


class Base:
    """Three documents and what else a test puts in, searchable."""

    def __init__(self, folder: Path) -> None:
        documents = folder / "documents"
        (documents / "rules").mkdir(parents=True)
        (documents / "kettle.pdf").write_bytes(made.pdf(KETTLE))
        (documents / "rules" / "returns.docx").write_bytes(made.docx(RETURNS, title="Rules of the shop"))
        (documents / "stores.html").write_text(STORES)
        url = f"sqlite:///{folder}/kb.sqlite3"
        migrate.upgrade(url)
        self.database, self.store, self.embedder = Database(make_engine(url)), MemoryStore(), make_embedder("minilm")
        self.report = Report()
        with Sandbox() as sandbox:
            import_from(self.database, Folder(documents), self.report, sandbox=sandbox)
        self.sync()
        self.searcher = KnowledgeSearcher(self.database, lambda _: self.store, self.embedder, "minilm")

    def sync(self) -> None:
        index.sync(self.database, self.store, "memory", self.embedder, "minilm")

    def put(self, *rows: ItemRow) -> None:
        knowledge.put_items(self.database, rows, source="test")
        self.sync()
        time.sleep(FRESH + 0.05)

    def ask(self, question: str, channel: str | None = None, locale: str | None = None) -> Retrieval:
        return retrieve(question, searcher=self.searcher, k=5, scope=Scope(channel, locale))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    base = Base(tmp_path_factory.mktemp("documents"))
    yield base
    base.database.close()


FACTS = [
    ("How often do I descale the kettle?", "citric", "kettle.pdf", "Kettle K2 manual › Cleaning", 2),
    ("How long is the kettle under warranty?", "twenty-four", "kettle.pdf", "Kettle K2 manual › Warranty", 3),
    ("Когда курьер привезёт чайник?", "Курьер", "kettle.pdf", "Kettle K2 manual › Доставка", 4),
    ("When can I return an unused item?", "fourteen", "rules/returns.docx", "Rules of the shop › Returns", 1),
    ("How soon is the refund on my card?", "five working", "rules/returns.docx", "Rules of the shop › Refunds", 2),
    ("What chest does size Large fit?", "hundred", "rules/returns.docx", "Rules of the shop › Sizes", 3),
    ("Is parking near the store free?", "two hours", "stores.html", "Our stores › Parking", None),
    ("May I bring my dog into the store?", "leash", "stores.html", "Our stores › Pets", None),
]


@pytest.mark.parametrize(("question", "fact", "source", "heading", "page"), FACTS)
def test_a_fact_is_cited_to_its_page(
    base: Base, question: str, fact: str, source: str, heading: str, page: int | None
) -> None:
    found = base.ask(question)
    assert fact in found.passages[0].answer
    asked = Classification(language="en", request="question", question=question)
    answer = generate(asked, found, policy=POLICY, model=Quoting(fact))
    assert (answer.mode, fact in answer.text) == ("grounded", True)
    assert answer.citations == (
        Citation(id=found.passages[0].id, title=heading, source=source, heading=heading, page=page),
    )
    assert generate(asked, found, policy=POLICY, model=None).mode == "unknown", "a passage is not sent as it stands"


def test_drafts_and_other_channels_are_not_found_and_an_edit_is_live_in_seconds(base: Base) -> None:
    asked = "Where does the stork live?"
    rows = [
        ItemRow("draft", "Draft.", [asked], visibility=Visibility("draft")),
        ItemRow("widget", "On the widget.", [asked], visibility=Visibility(channels=("widget",))),
        ItemRow("german", "Auf dem Dach.", [asked], visibility=Visibility(languages=("de",))),
        ItemRow("soon", "Soon.", [asked], visibility=Visibility(valid_from=utcnow() + timedelta(hours=1))),
        ItemRow("past", "Past.", [asked], visibility=Visibility(valid_until=utcnow() - timedelta(hours=1))),
    ]
    base.put(*rows)

    def seen(channel: str | None = None, locale: str | None = None) -> set[str]:
        return {passage.id for passage in base.ask(asked, channel, locale).passages} & {row.id for row in rows}

    assert seen() == {"widget", "german"}
    assert seen("api", "en") == set()
    assert seen("widget", "ru-RU") == {"widget"}
    assert seen("api", "de-AT") == {"german"}
    knowledge.set_visibility(base.database, ["draft", "german"], {"status": "active", "languages": []})
    knowledge.set_visibility(base.database, ["widget"], {"valid_until": utcnow() + timedelta(seconds=FRESH + 0.5)})
    time.sleep(FRESH + 0.05)
    assert seen("widget", "en") == {"widget", "draft", "german"}
    time.sleep(0.6)
    assert seen("widget", "en") == {"draft", "german"}, "its time ran out without any edit"
    knowledge.remove_items(base.database, [row.id for row in rows])
    base.sync()


def test_what_may_be_seen_is_found_behind_much_that_may_not(base: Base) -> None:
    asked = "Which code opens the locker at the station?"
    hidden = Visibility(channels=("telegram",))
    base.put(
        *(ItemRow(f"hidden-{n}", "No.", [f"{asked} Number {n}"], visibility=hidden) for n in range(300)),
        ItemRow("shown", "Code 5.", ["What opens the station locker?"]),
    )
    assert base.ask(asked, "api").passages[0].id == "shown"
    assert base.ask(asked, "telegram").passages[0].id.startswith("hidden")
    knowledge.remove_items(base.database, ["shown", *(f"hidden-{n}" for n in range(300))])
    base.sync()


@pytest.mark.parametrize(
    ("language", "locale", "found"),
    [("ru", None, "ru"), ("ru", "de", "ru"), ("en", "de-AT", "de-AT"), ("en", "ru", "en"), ("en", None, "en")],
)
def test_knowledge_is_shown_by_the_language_of_the_reply(language: str, locale: str | None, found: str) -> None:
    class Asked:
        scope: Scope | None = None

        def search(self, question: str, scope: Scope) -> Found:
            self.scope = scope
            return Found()

        def warm_up(self) -> None:
            return None

    asked = Asked()
    classification = Classification(language=language, request="question", question="?")
    search_step(classification, searcher=asked, k=5, channel="api", locale=locale)
    assert asked.scope == Scope("api", found)
