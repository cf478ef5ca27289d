"""Schema migrations (Alembic), one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import TextIO

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlmodel import SQLModel

import storage.models  # noqa: F401  (declares the tables)
from ragline.errors import ConfigurationError, RaglineError
from storage.session import DatabaseUnavailable, make_engine, parse_url

#: Key of the PostgreSQL advisory lock held while migrating.
_LOCK = 7_261_903


class SchemaBehind(RaglineError):
    """The database's schema is not the one this version needs."""


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database to ``revision``.

    Raises :class:`DatabaseUnavailable`, and :class:`SchemaBehind` when the way there is not known.
    """
    with _exclusive(url) as connection:
        if MigrationContext.configure(connection).get_current_revision() == revision_of(revision):
            return  # the usual start: no need to load every migration
        with _known_revisions():
            command.upgrade(_config(connection), revision)


def downgrade(url: str, revision: str) -> None:
    """Take the database back to ``revision`` (``base``: before the first). Raises as :func:`upgrade` does."""
    with _exclusive(url) as connection, _known_revisions():
        command.downgrade(_config(connection), revision)


def current(url: str) -> str | None:
    """The database's revision; None for an empty one."""
    with _exclusive(url) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def revision_of(name: str) -> str | None:
    """The revision a name such as ``head`` stands for."""
    return ScriptDirectory.from_config(_config(None)).get_current_head() if name == "head" else name


def differences(url: str) -> list[object]:
    """What the models have and the database has not, or the other way round; empty when they agree."""
    with _exclusive(url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, SQLModel.metadata))


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _known_revisions() -> Iterator[None]:
    try:
        yield
    except CommandError as error:
        raise SchemaBehind(
            f"{error}; `ragline db current` says where the schema is, and a newer Ragline may have made it"
        ) from error


def _connect(engine: Engine) -> Connection:
    try:
        return engine.connect()
    except DBAPIError as error:  # also what is no database, and options the server does not take
        raise _unavailable(error) from error


def _lock_file(path: Path) -> TextIO:
    try:
        return path.open("w")
    except OSError as error:
        raise DatabaseUnavailable(f"{path} cannot be written ({error.strerror}); check DATABASE_URL") from error


def _unavailable(error: DBAPIError) -> DatabaseUnavailable:
    return DatabaseUnavailable(
        f"the database does not answer ({type(error.orig).__name__}); check DATABASE_URL and the disk"
    )


@contextmanager
def _exclusive(url: str) -> Iterator[Connection]:
    parsed = parse_url(url)
    engine = make_engine(url, pool_size=1)
    try:
        if parsed.get_backend_name() == "sqlite":
            if parsed.database in (None, "", ":memory:"):
                raise ConfigurationError("DATABASE_URL names no file; it looks like sqlite:////folder/file.sqlite3")
            with _lock_file(Path(f"{parsed.database}.migrating")) as lock:
                flock(lock, LOCK_EX)
                with _connect(engine) as connection:
                    yield connection
                    connection.commit()
        else:
            with _connect(engine) as connection:
                connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
                connection.commit()
                try:
                    yield connection
                    connection.commit()
                finally:
                    connection.rollback()
                    connection.execute(text(f"SELECT pg_advisory_unlock({_LOCK})"))
                    connection.commit()
    except OperationalError as error:
        raise _unavailable(error) from error
    finally:
        engine.dispose()
