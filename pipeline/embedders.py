"""The embedding model the settings name: one of this machine, or a remote one through the door to language models."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from pipeline.errors import ProviderRefused
from pipeline.llm import embed
from pipeline.masking.reach import masks_questions
from pipeline.masking.recognise import hide
from pipeline.routes import make_routes
from ragline.errors import ConfigurationError
from ragline.settings import Settings
from storage import embedder as local
from storage.embedder.base import Embedder, Vectors
from storage.embedder.transformers import Prefixes
from storage.index import LiveIndex, live_index
from storage.session import Database

#: Texts of a request: a provider's limit is 2,048 texts or, sooner, 300,000 tokens.
BATCH = 128
#: Providers whose models are told whether a text is asked or stored (https://docs.litellm.ai/docs/embedding/supported_embedding).
_TOLD = ("cohere/", "voyage/", "nvidia_nim/", "bedrock/cohere")


def make_embedder(settings: Settings, name: str | None = None, *, threads: int = 0) -> Embedder:
    """The embedder called ``name`` (default: that of the settings); ``threads``: cores it may use, 0: all.

    Raises :class:`ConfigurationError` for a model that cannot be loaded.
    """
    knowledge = settings.knowledge
    prefixes = Prefixes(knowledge.query_prefix, knowledge.passage_prefix)
    return _make(settings, name or knowledge.embedder, prefixes, threads)


def open_embedder(settings: Settings, index: LiveIndex | None, *, threads: int = 0) -> Embedder:
    """The model that made an index; that of the settings where there is none yet, or it does not say its model.

    Raises :class:`ConfigurationError` for a model that cannot be loaded.
    """
    if index is None or index.setting is None:
        return make_embedder(settings, threads=threads)
    return _make(settings, index.setting, index.prefixes, threads)


def embedder_in_use(settings: Settings, database: Database, *, threads: int = 0) -> Embedder:
    """:func:`open_embedder` of the live index."""
    with database.read() as session:
        live = live_index(session)
    return open_embedder(settings, live, threads=threads)


def _make(settings: Settings, name: str, prefixes: Prefixes, threads: int) -> Embedder:
    return local.make_embedder(
        name, threads=threads, prefixes=prefixes,
        remote=lambda model: RemoteEmbedder(model, prefixes, settings),
    )  # fmt: skip


class RemoteEmbedder:
    """A provider's embedding model. Thread-safe. Errors are ``ProviderUnavailable`` and ``ConfigurationError``."""

    def __init__(self, model: str, prefixes: Prefixes, settings: Settings) -> None:
        self._model, self._prefixes, self._settings = model, prefixes, settings.llm
        self._route = make_routes(settings).pick("embed")
        self._masks = masks_questions(settings, model)
        self._told = model.startswith(_TOLD)
        self._dimensions = 0
        self._lock = threading.Lock()
        marks = [text for text in (prefixes.query, prefixes.passage) if text]
        self.name = f"{local.REMOTE}{model}" + (f" {marks}" if marks else "")

    @property
    def dimensions(self) -> int:
        """Asked of the model itself, once."""
        with self._lock:
            if not self._dimensions:
                self._dimensions = len(self._ask(["dimensions"], "search_document")[0])
            return self._dimensions

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions; of personal data in them only the kind is sent, where ``privacy.masking`` says so."""
        asked = [hide(text) for text in texts] if self._masks else texts
        return self._encode([(self._prefixes.query or "") + text for text in asked], "search_query")

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        return self._encode([(self._prefixes.passage or "") + text for text in texts], "search_document")

    def _encode(self, texts: list[str], use: str) -> Vectors:
        if not texts:
            return np.empty((0, self.dimensions), dtype=np.float32)
        rows = [row for start in range(0, len(texts), BATCH) for row in self._ask(texts[start : start + BATCH], use)]
        vectors = np.array(rows, dtype=np.float32)
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), dtype=np.float32)

    def _ask(self, texts: list[str], use: str) -> list[list[float]]:
        # An empty text is refused by some providers, and has no meaning to lose.
        asked = [text or " " for text in texts]
        try:
            told = use if self._told else None
            return embed(self._model, asked, settings=self._settings, route=self._route, use=told)
        except ProviderRefused as error:
            raise ConfigurationError(f"knowledge.embedder: {error}") from error
