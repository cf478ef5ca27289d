"""A text encoder run by ONNX Runtime: a graph that takes token ids and gives normalised vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from storage.embedder.base import Vectors
from storage.embedder.cores import available_cores

#: Rows of a batch, and tokens of one, padding included: what a batch of long texts would take is memory, not time.
BATCH, TOKENS = 64, 8192


class OnnxEncoder:
    """Texts to vectors, shape (n, dimensions). Thread-safe. ``threads``: cores it may use; 0: all it has."""

    def __init__(self, graph: Path, tokenizer: Path, dimensions: int, max_tokens: int, pad: int, threads: int) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        # One thread a batch, several batches at once: threads inside a batch of short texts wait for each other,
        # and while they wait they spin, which takes the core from the store and the other workers.
        self._parallel = threads or available_cores()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(graph), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.enable_truncation(max_tokens)
        self._tokenizer.no_padding()
        self._dimensions, self._pad = dimensions, pad

    def encode(self, texts: Sequence[str]) -> Vectors:
        return self.run(texts, {"vectors": self._dimensions})[0]

    def run(self, texts: Sequence[str], outputs: Mapping[str, int]) -> list[Vectors]:
        """Several outputs of the graph, by name and width, in order: each of shape (n, width)."""
        encoded = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        found = [np.empty((len(encoded), width), dtype=np.float32) for width in outputs.values()]
        names = list(outputs)

        def encode(rows: list[int]) -> None:
            width = max(1, *(len(encoded[i]) for i in rows))
            ids = np.full((len(rows), width), self._pad, dtype=np.int64)
            mask = np.zeros((len(rows), width), dtype=np.int64)
            for row, i in enumerate(rows):
                ids[row, : len(encoded[i])] = encoded[i]
                mask[row, : len(encoded[i])] = 1
            given = {"input_ids": ids, "attention_mask": mask}
            for whole, part in zip(found, self._session.run(names, given), strict=True):
                whole[rows] = part

        batches = _batches([len(ids) for ids in encoded])
        if self._parallel == 1 or len(batches) == 1:
            for rows in batches:
                encode(rows)
        else:
            with ThreadPoolExecutor(self._parallel, thread_name_prefix="encode") as pool:
                for _ in pool.map(encode, batches):
                    pass
        return found


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Rows of about one length together (padding is computed like any other token), the longest last."""
    found: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        full = found and (len(found[-1]) >= BATCH or (len(found[-1]) + 1) * lengths[row] > TOKENS)
        if not found or full:
            found.append([])
        found[-1].append(row)
    return found
