"""A copy of the base: every column, both databases, and no claim to be indexed."""

from pathlib import Path

from sqlmodel import select

from storage import index, knowledge, migrate
from storage.embedder import make_embedder
from storage.knowledge_copy import CHUNK, copy_knowledge
from storage.knowledge_files import ItemRow
from storage.models import KnowledgeItem, KnowledgePhrase
from storage.session import Database, make_engine
from storage.vectors.memory import MemoryStore


def test_everything_is_copied_but_the_index(database: Database, tmp_path: Path) -> None:
    rows = [ItemRow(f"i{number}", f"answer {number}", [f"question {number}"], ["t"], "ru") for number in range(CHUNK)]
    knowledge.put_items(database, [*rows, ItemRow("last", None, ["a", "b"])], source="test")
    with database.write() as session:
        session.get_one(KnowledgeItem, "last").status = "archived"
    index.sync(database, MemoryStore(), "memory", make_embedder("minilm"), "minilm")
    url = f"sqlite:///{tmp_path}/copy.sqlite3"
    migrate.upgrade(url)
    copy = Database(make_engine(url))
    assert copy_knowledge(database, copy) == CHUNK + 1
    assert list(knowledge.list_items(copy)) == list(knowledge.list_items(database))
    with database.read() as there, copy.read() as here:
        columns = (KnowledgeItem.status, KnowledgeItem.source, KnowledgeItem.updated_at)
        order = KnowledgeItem.id
        assert here.exec(select(*columns).order_by(order)).all() == there.exec(select(*columns).order_by(order)).all()
        assert index.pending(here) == CHUNK + 2
        assert not here.exec(select(KnowledgePhrase.id).where(KnowledgePhrase.index_id != None)).all()  # noqa: E711
    copy.close()
