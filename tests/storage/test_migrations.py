"""Migrations up and down on both databases, and in step with the models."""

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import inspect, text

from storage import migrate
from storage.session import make_engine


def tables(url: str) -> set[str]:
    engine = make_engine(url)
    found = set(inspect(engine).get_table_names())
    engine.dispose()
    return found - {"alembic_version"}


def test_up_agrees_with_the_models_and_down_leaves_nothing(empty_database_url: str) -> None:
    url = empty_database_url
    migrate.upgrade(url)
    assert migrate.current(url) == migrate.revision_of("head")
    assert migrate.differences(url) == []
    assert "message" in tables(url)
    migrate.upgrade(url)
    migrate.downgrade(url, "base")
    assert tables(url) == set()
    migrate.upgrade(url)
    assert migrate.differences(url) == []


def test_several_at_once_are_safe(empty_database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: migrate.upgrade(empty_database_url), range(4)))
    assert migrate.differences(empty_database_url) == []


def test_knowledge_that_is_there_survives(empty_database_url: str) -> None:
    url = empty_database_url
    migrate.upgrade(url, "20261123_2")
    engine = make_engine(url)
    with engine.begin() as connection:
        now = "2026-11-23 00:00:00"
        item = f"'a', 'A.', '[]', NULL, 'active', 'manual', '{now}', '{now}'"
        columns = "id, answer, tags, locale, status, source, created_at, updated_at"
        connection.execute(text(f"INSERT INTO knowledge_item ({columns}) VALUES ({item})"))
        connection.execute(
            text("INSERT INTO knowledge_phrase (id, item_id, kind, position, text, digest) "
                 "VALUES ('p', 'a', 'question', 0, 'Q?', 'd')")
        )  # fmt: skip
    migrate.upgrade(url)
    with engine.connect() as connection:
        row = connection.execute(text("SELECT item_id, channels, languages, valid_from FROM knowledge_phrase "
                                      "JOIN knowledge_item ON item_id = knowledge_item.id")).one()  # fmt: skip
    migrate.downgrade(url, "20261123_2")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM knowledge_phrase")).scalar() == 1
    engine.dispose()
    assert [str(value) for value in row] == ["a", "[]", "[]", "None"]
