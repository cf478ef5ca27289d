"""Vector stores. One file each; the registry is flat, and a store is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from ragline.errors import ConfigurationError
from ragline.settings import Settings
from storage.vectors.base import VectorStore

#: Name -> the module and the class that has ``from_settings``.
STORES: dict[str, str] = {
    "chroma": "storage.vectors.chroma:ChromaStore",
    "faiss": "storage.vectors.faiss:FaissStore",
    "memory": "storage.vectors.memory:MemoryStore",
    "pgvector": "storage.vectors.pgvector:PgvectorStore",
    "pinecone": "storage.vectors.pinecone:PineconeStore",
}


def make_store(name: str, settings: Settings) -> VectorStore:
    """The store called ``name``.

    Raises :class:`ConfigurationError` for a name nobody registered, a package that is not installed or an address
    that is not set.
    """
    if name not in STORES:
        raise ConfigurationError(f"unknown vector store '{name}'; known: {', '.join(sorted(STORES))}")
    module, _, attribute = STORES[name].partition(":")
    from_settings: Callable[[Settings], VectorStore] = getattr(import_module(module), attribute).from_settings
    return from_settings(settings)
