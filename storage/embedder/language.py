"""Whether an embedding model knows the language of the base, told by its tokenizer: torch is not needed for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from storage.embedder import REMOTE

#: What to use for Russian: small, of the size of the packaged model's vectors, under the MIT licence.
MULTILINGUAL = "intfloat/multilingual-e5-small"
#: Share of Cyrillic from which the base counts as Cyrillic.
MOSTLY = 0.5
#: Pieces a Cyrillic word is cut into on average up to which a model can know words: multilingual vocabularies need 2 to
#: 2.5, an English one spells, at 5 to 6.
READABLE = 3.5
_LETTERS = re.compile(r"[^\W\d_]")
_CYRILLIC = re.compile(r"[\u0400-\u04ff]")
_WORD = re.compile(r"[\u0400-\u04ff]+")


def cyrillic_share(texts: Sequence[str]) -> float:
    """Cyrillic letters among all letters, 0 to 1."""
    joined = " ".join(texts)
    letters = len(_LETTERS.findall(joined))
    return len(_CYRILLIC.findall(joined)) / letters if letters else 0.0


def pieces_per_word(model: str, texts: Sequence[str]) -> float | None:
    """Pieces into which the model cuts a Cyrillic word on average.

    None where that cannot be seen on this machine: of a remote model, or one that is not downloaded yet.
    """
    tokenizer = _tokenizer(model)
    words = _WORD.findall(" ".join(texts))
    if tokenizer is None or not words:
        return None
    from tokenizers import Tokenizer

    cutter = Tokenizer.from_file(str(tokenizer))
    cutter.no_padding()  # the file may ask for it
    encodings = cutter.encode_batch(words, add_special_tokens=False)
    return sum(len(encoding.ids) for encoding in encodings) / len(words)


def _tokenizer(model: str) -> Path | None:
    if model.startswith(REMOTE):
        return None
    if model == "minilm":
        from storage.embedder.minilm import model_folder

        return model_folder() / "tokenizer.json"
    if Path(model).is_dir():
        found = Path(model) / "tokenizer.json"
        return found if found.exists() else None
    from huggingface_hub import try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(model, "tokenizer.json")
    except ValueError:  # no name of a model
        return None
    return Path(cached) if isinstance(cached, str) else None
