"""A real cross-encoder of a few thousand random numbers, made on the spot."""

from __future__ import annotations

from pathlib import Path


def make_cross_encoder(folder: Path, *, outputs: int = 1) -> Path:
    """A model with one layer over single letters, as sentence-transformers loads it from ``folder``."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz0123456789абвгдежзийклмнопрстуфхцчшщъыьэюя?.,"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    torch.manual_seed(7)
    # Numbers larger than training begins with, so that its scores differ.
    shape = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=128, num_labels=outputs, initializer_range=1.0,
    )  # fmt: skip
    model = BertForSequenceClassification(shape)
    with torch.no_grad():
        model.classifier.weight *= 4
        model.classifier.bias -= 12  # about the middle of what these weights give
    model.save_pretrained(folder)
    BertTokenizerFast(vocab={word: number for number, word in enumerate(vocabulary)}).save_pretrained(folder)
    return folder
