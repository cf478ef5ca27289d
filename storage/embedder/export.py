"""Export the packaged model as an ONNX graph: ``python -m storage.embedder.export [--output FILE]``.

Without ``--output`` the graph goes to the cache, where it is found by every later start. Torch's own exporter is
used: ``optimum-onnx`` does not work with this version of sentence-transformers. Pooling and normalisation
are part of the graph (https://www.sbert.net/docs/package_reference/sentence_transformer/models.html).
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

from storage.embedder.minilm import LAYERS, cached_graph, model_folder


def export(output: Path) -> None:
    """Write the graph: int64 ``input_ids`` and ``attention_mask`` (batch, tokens) -> float32 ``vectors`` (batch, 384)
    and ``layers`` (batch, 1536): the means of the hidden layers in :data:`LAYERS`, each of length 1, side by side.

    A runtime asked for one of the two computes no more than that one needs.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import AutoModel

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = AutoModel.from_pretrained(model_folder(), attn_implementation="eager")

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            found = self.model(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
            mask = attention_mask.unsqueeze(-1).to(found.last_hidden_state.dtype)

            def mean(hidden: torch.Tensor) -> torch.Tensor:
                pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
                return torch.nn.functional.normalize(pooled, p=2, dim=1)

            means = [mean(found.hidden_states[layer]) for layer in LAYERS]
            return means[-1], torch.cat(means, dim=1)

    sample = torch.tensor([[101, 7592, 102, 0], [101, 7592, 2088, 102]])
    axes = {
        "input_ids": {0: "batch", 1: "tokens"},
        "attention_mask": {0: "batch", 1: "tokens"},
        "vectors": {0: "batch"},
        "layers": {0: "batch"},
    }
    with warnings.catch_warnings():
        # The tracing exporter is the one that needs no further packages and takes one second instead of seven.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Encoder().eval(), (sample, (sample != 0).long()), str(output), dynamo=False, opset_version=17,
            input_names=["input_ids", "attention_mask"], output_names=["vectors", "layers"], dynamic_axes=axes,
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    output = parser.parse_args().output
    if output is None:
        cached_graph()
    else:
        export(output)


if __name__ == "__main__":
    main()
