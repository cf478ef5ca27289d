"""PostgreSQL with the extension pgvector: a table for each collection, in a schema of its own.

The graph (HNSW, cosine) is built by :meth:`PgvectorStore.settle`, after the rows and therefore much faster than row by
row; until then, and for small tables anyway, rows are compared exactly. An index holds up to 2,000 dimensions, as
half-precision numbers 4,000 (https://github.com/pgvector/pgvector).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ragline.errors import ConfigurationError
from ragline.settings import Settings
from storage.embedder.base import Vectors
from storage.vectors.base import CollectionMissing, Hit, StoreUnavailable, require

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg_pool import ConnectionPool

SCHEMA = "ragline_vectors"
#: Rows from which the graph is worth building; below, an exact comparison takes a millisecond or two.
GRAPH = 2000
#: Seconds to wait for a connection.
PATIENCE = 10.0
#: Rows in a statement.
BATCH = 1000
#: Candidates kept while the graph is searched; the extension's default of 40 returns at most 40.
SEARCHING = 200
#: Most dimensions of an indexed vector, and of one of half precision.
FULL, HALF = 2000, 4000


class PgvectorStore:
    """One PostgreSQL database. Thread-safe."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._made: ConnectionPool[Connection[Any]] | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, settings: Settings) -> PgvectorStore:
        url = settings.pgvector_url or settings.database
        scheme, _, rest = url.partition("://")
        if scheme not in ("postgres", "postgresql", "postgresql+psycopg"):
            raise ConfigurationError(
                "knowledge.store is pgvector and there is no PostgreSQL: set DATABASE_URL or PGVECTOR_URL to one, such "
                "as postgresql://user:password@host/name"
            )
        return cls(f"postgresql://{rest}")

    def create(self, collection: str, dimensions: int) -> None:
        if dimensions > HALF:
            raise ConfigurationError(f"pgvector indexes up to {HALF} dimensions, the embedding model has {dimensions}")
        kind = "vector" if dimensions <= FULL else "halfvec"
        with self._connection(collection) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('ragline_vectors'))")  # one of several at once
            self._extend(connection)
            if not connection.execute("SELECT to_regnamespace(%s)", (SCHEMA,)).fetchall()[0][0]:
                self._run(connection, "CREATE SCHEMA {schema}", collection)
            self._run(
                connection,
                f"CREATE TABLE IF NOT EXISTS {{table}} (id text PRIMARY KEY, embedding {kind}({dimensions}) NOT NULL)",
                collection,
            )

    def drop(self, collection: str) -> None:
        with self._connection(collection) as connection:
            self._run(connection, "DROP TABLE IF EXISTS {table}", collection)

    def upsert(self, collection: str, ids: Sequence[str], vectors: Vectors) -> None:
        for start in range(0, len(ids), BATCH):
            # A statement may not touch a row twice: of an id given twice the last vector stands.
            rows = dict(zip(ids[start : start + BATCH], vectors[start : start + BATCH], strict=True))
            with self._connection(collection) as connection:
                self._run(
                    connection,
                    "INSERT INTO {table} SELECT * FROM unnest(%s::text[], %s::text[]::vector[]) "
                    "ON CONFLICT (id) DO UPDATE SET embedding = excluded.embedding",
                    collection,
                    (list(rows), [_text(row) for row in rows.values()]),
                )

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        with self._connection(collection) as connection:
            self._run(connection, "DELETE FROM {table} WHERE id = ANY(%s)", collection, (list(ids),))

    def settle(self, collection: str, expected: int) -> None:
        require(found := self.count(collection), expected)
        with self._connection(collection) as connection:
            if found >= GRAPH:
                connection.execute("SET LOCAL maintenance_work_mem = '256MB'")
                kind = self._run(
                    connection,
                    "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = {table_literal}::regclass "
                    "AND attname = 'embedding'",
                    collection,
                )[0][0]
                self._run(
                    connection,
                    f"CREATE INDEX IF NOT EXISTS {{graph}} ON {{table}} USING hnsw (embedding {kind}_cosine_ops) "
                    "WITH (m = 16, ef_construction = 100)",
                    collection,
                )
            self._run(connection, "ANALYZE {table}", collection)

    def query(self, collection: str, vectors: Vectors, k: int) -> list[list[Hit]]:
        answers: list[list[Hit]] = [[] for _ in vectors]
        with self._connection(collection) as connection:
            rows = self._run(
                connection,
                "SELECT asked.row, near.id, near.score FROM unnest(%s::text[]::vector[]) WITH ORDINALITY "
                "AS asked(vector, row) CROSS JOIN LATERAL (SELECT id, 1 - (embedding <=> asked.vector) AS score "
                "FROM {table} ORDER BY embedding <=> asked.vector LIMIT %s) AS near ORDER BY 1, 3 DESC",
                collection,
                ([_text(vector) for vector in vectors], k),
            )
        for row, name, score in rows:
            answers[row - 1].append(Hit(name, float(score)))
        return answers

    def count(self, collection: str) -> int:
        with self._connection(collection) as connection:
            return int(self._run(connection, "SELECT count(*) FROM {table}", collection)[0][0])

    def ping(self) -> None:
        with self._connection(None) as connection:
            self._extend(connection)

    def close(self) -> None:
        if self._made:
            self._made.close()

    def _extend(self, connection: Connection[Any]) -> None:
        from psycopg import errors

        found = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone()
        if found:
            return
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except errors.InsufficientPrivilege as error:
            raise ConfigurationError(
                "this PostgreSQL user may not create the extension: let an administrator run "
                "`CREATE EXTENSION vector` in this database"
            ) from error
        except (errors.UndefinedFile, errors.FeatureNotSupported) as error:
            raise ConfigurationError("pgvector is not installed on this PostgreSQL server; install it there") from error

    @staticmethod
    def _run(
        connection: Connection[Any], statement: str, collection: str, values: tuple[object, ...] = ()
    ) -> list[tuple[Any, ...]]:
        from psycopg import sql

        table = sql.Identifier(SCHEMA, collection)
        done = connection.execute(
            sql.SQL(statement).format(
                schema=sql.Identifier(SCHEMA),
                table=table,
                table_literal=sql.Literal(table.as_string(connection)),
                graph=sql.Identifier(f"{collection}-hnsw"),
            ),
            values or None,
        )
        return done.fetchall() if done.description else []

    def _pool(self) -> ConnectionPool[Connection[Any]]:
        with self._lock:
            if self._made is None:
                from psycopg_pool import ConnectionPool

                self._made = ConnectionPool(
                    self._url, min_size=1, max_size=8, timeout=PATIENCE, name="vectors", open=True,
                    configure=_configure, check=ConnectionPool.check_connection,
                    kwargs={"connect_timeout": 5, "application_name": "ragline-vectors"},
                )  # fmt: skip
            return self._made

    @contextmanager
    def _connection(self, collection: str | None) -> Iterator[Connection[Any]]:
        """A connection in a transaction that is committed at the end."""
        from psycopg import OperationalError, errors
        from psycopg_pool import PoolTimeout

        try:
            with self._pool().connection() as connection:
                yield connection
        except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
            raise CollectionMissing(f"PostgreSQL has no collection {collection}; run `ragline kb reindex`") from error
        except errors.DataException as error:
            raise ConfigurationError(
                f"PostgreSQL refuses the vectors of collection {collection} ({type(error).__name__}): they are of "
                "another model; run `ragline kb reindex`"
            ) from error
        except errors.InsufficientPrivilege as error:
            raise ConfigurationError(
                f"this PostgreSQL user may not write to the schema {SCHEMA}: grant CREATE on the database"
            ) from error
        except (OperationalError, PoolTimeout) as error:
            raise StoreUnavailable(f"PostgreSQL does not answer ({type(error).__name__})") from error


def _configure(connection: Connection[Any]) -> None:
    # Iterative scans go on where rows that are gone have taken the candidates' places.
    connection.execute(f"SET hnsw.ef_search = {SEARCHING}")
    connection.execute("SET hnsw.iterative_scan = strict_order")
    connection.commit()


def _text(vector: Vectors) -> str:
    """A vector as PostgreSQL reads it; nine digits carry a float32 unharmed."""
    return "[" + ",".join(map("{:.9g}".format, vector.tolist())) + "]"
