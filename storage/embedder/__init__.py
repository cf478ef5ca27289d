"""Embedding models. ``minilm`` is in the package; any other name or path goes to sentence-transformers."""

from __future__ import annotations

from storage.embedder.base import Embedder


def make_embedder(name: str, *, threads: int = 0) -> Embedder:
    """The embedder called ``name``. ``threads``: cores it may use; 0: all.

    Raises :class:`~ragline.errors.ConfigurationError` for a model that cannot be loaded.
    """
    if name == "minilm":
        from storage.embedder.minilm import MiniLm

        return MiniLm(threads=threads)
    from storage.embedder.transformers import SentenceTransformerEmbedder

    return SentenceTransformerEmbedder(name, threads=threads)
