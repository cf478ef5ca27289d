"""Alembic runs the migrations on the connection that :mod:`storage.migrate` gives it."""

from alembic import context
from sqlmodel import SQLModel

import storage.models  # noqa: F401

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
    compare_type=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    if connection.dialect.name == "postgresql":
        context.execute("SET LOCAL lock_timeout = '30s'")
    context.run_migrations()
