"""Embedding models. ``minilm`` is in the package; ``litellm:MODEL`` is a remote one; any other name or path goes to
sentence-transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from ragline.errors import ConfigurationError
from storage.embedder.base import Embedder
from storage.embedder.transformers import Prefixes

#: Of the names of remote models.
REMOTE = "litellm:"


def full_name(name: str) -> str:
    """The name of a model as it holds in every working folder: a folder's whole path, any other name as it is."""
    packaged = name == "minilm" or name.startswith(REMOTE)
    return name if packaged or not Path(name).is_dir() else str(Path(name).resolve())


def make_embedder(
    name: str,
    *,
    threads: int = 0,
    prefixes: Prefixes | None = None,
    remote: Callable[[str], Embedder] | None = None,
) -> Embedder:
    """The embedder called ``name``, loaded once a process. ``threads``: cores it may use; 0: all.

    ``remote`` makes the embedder of a remote model's name: the way to it stands above storage. Raises
    :class:`~ragline.errors.ConfigurationError` for a model that cannot be loaded.
    """
    if name.startswith(REMOTE):
        if remote is None:
            raise ConfigurationError(f"the remote embedding model {name} cannot be used here")
        return remote(name.removeprefix(REMOTE))
    return _load(full_name(name), threads, prefixes or Prefixes())


@lru_cache(maxsize=2)
def _load(name: str, threads: int, prefixes: Prefixes) -> Embedder:
    if name == "minilm":
        from storage.embedder.minilm import MiniLm

        return MiniLm(threads=threads)
    from storage.embedder.transformers import open_model

    return open_model(name, threads=threads, prefixes=prefixes)
