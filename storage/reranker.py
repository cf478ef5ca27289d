"""A re-ranking model: reads a question and a text together, and says how well the one answers the other.

Any sentence-transformers CrossEncoder with one output, by name or path. It runs on torch, which is loaded only where
a model is named.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ragline.errors import ConfigurationError
from storage.embedder.cores import available_cores
from storage.embedder.transformers import find_model

#: Probabilities from 0 to 1, float64, shape (n,).
Scores = NDArray[np.float64]
SETTING = "knowledge.reranker"
#: Tokens of a question and a text: some models would take thousands, with all other questions waiting.
LONGEST = 512
#: What to name instead of a model that will not do.
_TAKE = "name a sentence-transformers CrossEncoder with one output, such as BAAI/bge-reranker-v2-m3"


class Reranker(Protocol):
    """Reads pairs of a question and a text. Thread-safe."""

    def scores(self, question: str, texts: Sequence[str]) -> Scores:
        """For each text, how probably it answers the question: comparable within one call."""
        ...


def make_reranker(name: str | None) -> Reranker | None:
    """The model called ``name``, loaded once a process; None where none is named.

    Raises :class:`ConfigurationError` for a model that cannot be loaded, or is none that re-ranks.
    """
    if not name:
        return None
    return _load(str(Path(name).resolve()) if Path(name).is_dir() else name)


@lru_cache(maxsize=1)
def _load(name: str) -> Reranker:
    return _CrossEncoder(name, find_model(name, SETTING))


class _CrossEncoder:
    """A CrossEncoder on torch, on all cores this process may use (as is then an embedder on torch). It reads up to
    :data:`LONGEST` tokens of question and text."""

    def __init__(self, name: str, folder: Path) -> None:
        _check_kind(name, folder)
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import torch
        from sentence_transformers import CrossEncoder
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # type: ignore[no-untyped-call]
        torch.set_num_threads(available_cores())
        try:
            self._model: Any = CrossEncoder(str(folder), device="cpu", local_files_only=True)
        except Exception as error:  # the loader raises whatever a model's own files lead to
            raise ConfigurationError(
                f"{SETTING}: {name!r} cannot be loaded ({type(error).__name__}: {error}); {_TAKE}"
            ) from error
        if self._model.num_labels != 1:
            raise ConfigurationError(f"{SETTING}: {name!r} has {self._model.num_labels} outputs; {_TAKE}")
        self._model.max_seq_length = min(LONGEST, self._model.max_seq_length or LONGEST)
        # Some models name no activation of their own and others the identity: both are trained on logits.
        self._probability = torch.nn.Sigmoid()
        self._lock = threading.Lock()

    def scores(self, question: str, texts: Sequence[str]) -> Scores:
        # One call has all the cores: several at once would wait for each other, each with a batch in memory.
        with self._lock:
            found = self._model.predict(
                [(question, text) for text in texts], activation_fn=self._probability, show_progress_bar=False
            )
        return np.asarray(found, dtype=np.float64).reshape(len(texts))


def _check_kind(name: str, folder: Path) -> None:
    """Raise for a model of another kind: its weights would load, with an output of random numbers put on top."""
    about = _read(folder / "config_sentence_transformers.json")
    architectures = _read(folder / "config.json").get("architectures") or [""]
    if about.get("model_type") != "CrossEncoder" and not architectures[0].endswith("ForSequenceClassification"):
        raise ConfigurationError(f"{SETTING}: {name!r} is no cross-encoder ({architectures[0] or 'unknown'}); {_TAKE}")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the loader says what is wrong with a file it needs
        return {}
    return found if isinstance(found, dict) else {}
