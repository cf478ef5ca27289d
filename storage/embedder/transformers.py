"""Any sentence-transformers model, by name or path: on ONNX Runtime where its graph can be exported, else on torch.

The export is made once, in a process of its own, and compared with torch there. A worker then needs neither torch nor
sentence-transformers for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragline.errors import ConfigurationError
from ragline.logs import get_logger
from storage.embedder.base import Embedder, Vectors
from storage.embedder.cache import cached, run_export
from storage.embedder.cores import available_cores
from storage.embedder.onnx import OnnxEncoder

#: Version of the export; a change makes caches stale.
EXPORT = "1"
#: Files that make a model what it is; graphs and weights of other frameworks beside them are of no use here.
FILES = ("*.json", "*.txt", "*.model", "*.safetensors", "*/*.json", "*/*.safetensors", "*/*.bin")
#: The prefixes the E5 family was trained with; its models do not name them (https://arxiv.org/abs/2212.03533).
E5 = ("query: ", "passage: ")
_E5_NAME = re.compile(r"(^|[/_.-])e5([/_.-]|$)", re.IGNORECASE)
log = get_logger(__name__)


@dataclass(frozen=True)
class Prefixes:
    """What is put before a query and before a passage; None: what the model names itself."""

    query: str | None = None
    passage: str | None = None


def open_model(model: str, *, threads: int = 0, prefixes: Prefixes | None = None) -> Embedder:
    """The model of that name or in that folder. Raises :class:`ConfigurationError` where it cannot be loaded."""
    folder = find_model(model)
    digest = model_digest(folder)
    try:
        exported = cached(
            f"{digest[:16]}-{EXPORT}", lambda partial: run_export("--model", str(folder), "--output", str(partial))
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"the embedding model {model!r} cannot be loaded: {error}") from error
    about = json.loads((exported / "about.json").read_text())
    query, passage = _prefixes(model, about["prompts"], prefixes or Prefixes())
    name = f"{Path(model).name}@{hashlib.sha256(json.dumps([digest, query, passage]).encode()).hexdigest()[:12]}"
    if about["graph"]:
        encoder: OnnxEncoder | _Torch = OnnxEncoder(
            exported / "model.onnx", exported / "tokenizer.json", about["dimensions"], about["max_tokens"],
            about["pad"], threads,
        )  # fmt: skip
    else:
        log.warning("embedding_model_on_torch", model=name, reason=about["reason"])
        encoder = _Torch(folder, about["dimensions"], threads)
    return _Prefixed(name, about["dimensions"], encoder, query, passage)


def find_model(model: str, setting: str = "knowledge.embedder") -> Path:
    """The folder of a model, downloaded first where it is a name and not there yet (unless ``HF_HUB_OFFLINE=1``).

    ``setting`` is what errors name.
    """
    if Path(model).is_dir():
        if not (Path(model) / "config.json").exists() and not (Path(model) / "modules.json").exists():
            raise ConfigurationError(f"{setting}: {model} holds no sentence-transformers model")
        return Path(model).resolve()
    if model.startswith((".", "/", "~")):
        raise ConfigurationError(f"{setting}: there is no folder {model}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, allow_patterns=list(FILES)))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigurationError(
            f"{setting}: {model!r} is neither a folder nor a model that can be downloaded "
            f"({type(error).__name__}); give the path of a folder that holds it"
        ) from error


def model_digest(folder: Path) -> str:
    """A digest of the model's files, of large ones by samples: equal on every host that has the same model."""
    found = hashlib.sha256()
    for path in sorted({path for pattern in FILES for path in folder.glob(pattern)}):
        found.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
        for part in _samples(path):
            found.update(part)
    return found.hexdigest()


def _samples(path: Path, pieces: int = 64, size: int = 65536) -> Iterator[bytes]:
    length = path.stat().st_size
    with path.open("rb") as file:
        if length <= pieces * size:
            yield file.read()
            return
        for piece in range(pieces):
            file.seek(piece * (length - size) // (pieces - 1))
            yield file.read(size)


def _prefixes(model: str, prompts: dict[str, str], given: Prefixes) -> tuple[str, str]:
    own = prompts["query"], prompts["passage"]
    if not any(own) and _E5_NAME.search(model):
        own = E5
    return own[0] if given.query is None else given.query, own[1] if given.passage is None else given.passage


class _Prefixed:
    """An encoder with its prefixes."""

    def __init__(self, name: str, dimensions: int, encoder: OnnxEncoder | _Torch, query: str, passage: str) -> None:
        self.name, self.dimensions = name, dimensions
        self._encoder, self._query, self._passage = encoder, query, passage

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self._encoder.encode([self._query + text for text in texts])

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        return self._encoder.encode([self._passage + text for text in texts])


class _Torch:
    """A model whose graph cannot be exported."""

    def __init__(self, folder: Path, dimensions: int, threads: int) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads or available_cores())
        self._model: Any = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        self._dimensions = dimensions

    def encode(self, texts: Sequence[str]) -> Vectors:
        found = self._model.encode(list(texts), prompt="", normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(found, dtype=np.float32).reshape(-1, self._dimensions)
