"""Export a sentence-transformers model as an ONNX graph: ``python -m storage.embedder.export``.

Without arguments the packaged model goes to the cache, where it is found by every later start; ``--output FILE`` writes
its graph there; ``--model FOLDER --output FOLDER`` exports any model. Torch's own exporter is used: ``optimum-onnx``
does not work with this version of sentence-transformers. All modules of the model (pooling, dense layers) and the
normalisation are part of the graph (https://www.sbert.net/docs/package_reference/sentence_transformer/models.html).
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from storage.embedder.minilm import LAYERS, cached_graph, model_folder

#: Cosine with torch's vector from which an export is good.
SAME = 0.9995
#: Texts on which the two are compared: of several lengths, so that padding shows.
SAMPLES = ["x", "How long does delivery take?", "Сколько времени занимает доставка?", "one more word " * 40]


def load(folder: Path) -> Any:
    """The model, on one of the attention forms that the exporter can trace."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(
        str(folder), device="cpu", local_files_only=True, model_kwargs={"attn_implementation": "eager"}
    )


def export_graph(model: Any, output: Path) -> None:
    """Write the graph: int64 ``input_ids`` and ``attention_mask`` (batch, tokens) -> float32 (batch, dimensions)."""
    import torch

    types = "token_type_ids" in model.tokenizer.model_input_names

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            features = {"input_ids": input_ids, "attention_mask": attention_mask}
            if types:
                features["token_type_ids"] = torch.zeros_like(input_ids)
            for module in self.model:
                features = module(features)
            return torch.nn.functional.normalize(features["sentence_embedding"], p=2, dim=1)

    _write(Encoder(), model, output, ["vectors"])


def export_packaged(output: Path) -> None:
    """Write the packaged model's graph, which gives ``vectors`` and ``layers`` (batch, 1536): the means of the hidden
    layers in :data:`LAYERS`, each of length 1, side by side.

    A runtime asked for one of the two computes no more than that one needs.
    """
    import torch

    model = load(model_folder())

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model[0].auto_model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            found = self.model(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
            mask = attention_mask.unsqueeze(-1).to(found.last_hidden_state.dtype)

            def mean(hidden: torch.Tensor) -> torch.Tensor:
                pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
                return torch.nn.functional.normalize(pooled, p=2, dim=1)

            means = [mean(found.hidden_states[layer]) for layer in LAYERS]
            return means[-1], torch.cat(means, dim=1)

    _write(Encoder(), model, output, ["vectors", "layers"])


def _write(encoder: Any, model: Any, output: Path, names: list[str]) -> None:
    import torch

    sample = model.tokenizer(SAMPLES[:2], padding=True, return_tensors="pt")
    axes = {name: {0: "batch", 1: "tokens"} for name in ("input_ids", "attention_mask")}
    with warnings.catch_warnings():
        # The tracing exporter is the one that needs no further packages and takes one second instead of seven.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            encoder.eval(), (sample["input_ids"], sample["attention_mask"]), str(output), dynamo=False,
            opset_version=17, input_names=["input_ids", "attention_mask"], output_names=names,
            dynamic_axes=axes | {name: {0: "batch"} for name in names},
        )  # fmt: skip


def export_model(folder: Path, output: Path) -> None:
    """Write to a new folder what encoding needs; ``about.json`` says whether there is a graph, and why not."""
    model = load(folder)
    output.mkdir()
    prompts = {key: text or "" for key, text in (model.prompts or {}).items()}
    passage = next((prompts[key] for key in ("document", "passage", "corpus") if prompts.get(key)), "")
    about = {
        "dimensions": int(model.get_embedding_dimension()),
        "max_tokens": int(model.max_seq_length or 512),
        "prompts": {"query": prompts.get("query", ""), "passage": passage},
        "pad": int(getattr(model.tokenizer, "pad_token_id", 0) or 0),
    }
    try:
        reason = _why_not(model) or _export_checked(model, output, about)
    except Exception as error:  # the exporter raises whatever a model's own code raises
        reason = f"{type(error).__name__} while exporting"
    (output / "about.json").write_text(json.dumps({**about, "graph": reason is None, "reason": reason}))


def _why_not(model: Any) -> str | None:
    """Why a graph of token ids cannot stand for this model; None where it can."""
    if getattr(model.tokenizer, "backend_tokenizer", None) is None:
        return "its tokenizer has no fast form"
    if not all(getattr(module, "include_prompt", True) for module in model):
        return "it leaves its prompt out of the mean"
    return None


def _export_checked(model: Any, output: Path, about: dict[str, Any]) -> str | None:
    from storage.embedder.onnx import OnnxEncoder

    graph, tokenizer = output / "model.onnx", output / "tokenizer.json"
    export_graph(model, graph)
    model.tokenizer.backend_tokenizer.save(str(tokenizer))
    encoder = OnnxEncoder(graph, tokenizer, about["dimensions"], about["max_tokens"], about["pad"], threads=1)
    expected = model.encode(SAMPLES, prompt="", normalize_embeddings=True, show_progress_bar=False)
    worst = float((encoder.encode(SAMPLES) * np.asarray(expected)).sum(axis=1).min())
    return None if worst >= SAME else f"the exported graph gives other vectors (cosine {worst:.4f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.output is None:
        cached_graph()
    elif options.model is None:
        export_packaged(options.output)
    else:
        export_model(options.model, options.output)


if __name__ == "__main__":
    main()
