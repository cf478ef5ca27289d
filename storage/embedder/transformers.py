"""Any sentence-transformers model, by name or path. Torch is imported with it, at the first use."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from ragline.errors import ConfigurationError
from storage.embedder.base import Vectors


class SentenceTransformerEmbedder:
    """A model of the sentence-transformers library, with its own prompts for queries and documents."""

    def __init__(self, model: str, *, threads: int = 0) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import torch
        from sentence_transformers import SentenceTransformer

        if threads:
            torch.set_num_threads(threads)
        try:
            self._model = SentenceTransformer(model, device="cpu")
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"the embedding model {model!r} cannot be loaded: give a folder that holds it, or a name that can be "
                "downloaded"
            ) from error
        self.name = model
        self.dimensions = int(self._model.get_sentence_embedding_dimension() or 0)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self._as_vectors(self._model.encode_query(list(texts), normalize_embeddings=True))

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        return self._as_vectors(self._model.encode_document(list(texts), normalize_embeddings=True))

    def _as_vectors(self, found: object) -> Vectors:
        return np.asarray(found, dtype=np.float32).reshape(-1, self.dimensions)
