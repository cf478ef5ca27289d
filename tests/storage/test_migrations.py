"""Migrations up and down on both databases, and in step with the models."""

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import inspect

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
