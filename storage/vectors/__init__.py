"""Vector stores. One file each; the registry is flat."""

from __future__ import annotations

from collections.abc import Callable

from ragline.errors import ConfigurationError
from ragline.settings import Settings
from storage.vectors.base import VectorStore
from storage.vectors.chroma import ChromaStore
from storage.vectors.memory import MemoryStore

STORES: dict[str, Callable[[Settings], VectorStore]] = {
    "chroma": ChromaStore.from_settings,
    "memory": MemoryStore.from_settings,
}


def make_store(name: str, settings: Settings) -> VectorStore:
    """The store called ``name``. Raises :class:`ConfigurationError` for a name nobody registered."""
    if name not in STORES:
        raise ConfigurationError(f"unknown vector store '{name}'; known: {', '.join(sorted(STORES))}")
    return STORES[name](settings)
