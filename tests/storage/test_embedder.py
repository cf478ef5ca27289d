"""Embedders give the vectors of the models they were exported from."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from ragline.errors import ConfigurationError
from storage.embedder import make_embedder
from storage.embedder.cores import _quota as quota
from storage.embedder.cores import available_cores
from storage.embedder.language import MOSTLY, READABLE, cyrillic_share, pieces_per_word
from storage.embedder.minilm import model_folder
from storage.embedder.transformers import Prefixes
from storage.embedder.transformers import _prefixes as prefixes_of
from storage.gloss import glossary

TEXTS = ["How long does delivery take?", "Where is it?", "x", "", "word " * 600]


def test_the_same_vectors_as_sentence_transformers() -> None:
    embedder = make_embedder("minilm", threads=2)
    script = (
        "import sys, numpy, warnings; warnings.simplefilter('ignore');"
        "from sentence_transformers import SentenceTransformer;"
        f"m = SentenceTransformer({str(model_folder())!r}, device='cpu');"
        f"numpy.save(sys.stdout.buffer, m.encode({TEXTS!r}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    expected = np.frombuffer(done.stdout[-len(TEXTS) * 384 * 4 :], dtype=np.float32).reshape(-1, 384)
    found = embedder.encode_passages(TEXTS)
    assert found.shape == (len(TEXTS), embedder.dimensions)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert ((found * expected).sum(axis=1) > 0.9999).all()


def test_russian_is_encoded_by_its_glosses() -> None:
    embedder, asked = make_embedder("minilm", threads=2), "Сколько времени занимает доставка?"
    found = embedder.encode_queries([asked, glossary().gloss(asked)])
    assert float(found[0] @ found[1]) > 0.9999


def test_order_and_batches_do_not_matter() -> None:
    embedder = make_embedder("minilm", threads=2)
    texts = [f"question number {i} about {'delivery ' * (i % 7)}" for i in range(150)]
    together = embedder.encode_passages(texts)
    for row in (0, 77, 149):
        assert float(together[row] @ embedder.encode_queries([texts[row]])[0]) > 0.9999


def test_no_torch_is_needed() -> None:
    script = (
        "import sys; from storage.embedder import make_embedder; make_embedder('minilm').encode_queries(['x']);"
        "print(sorted({'torch', 'sentence_transformers', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def model_with_prompts(folder: Path, prompts: dict[str, str]) -> Path:
    """The packaged model as anybody's own, with prompts."""
    shutil.copytree(model_folder(), folder)
    about = json.loads((folder / "config_sentence_transformers.json").read_text())
    (folder / "config_sentence_transformers.json").write_text(json.dumps({**about, "prompts": prompts}))
    return folder


def test_any_model_runs_on_its_exported_graph_with_its_own_prompts(own_cache: None, tmp_path: Path) -> None:
    folder = model_with_prompts(tmp_path / "mine", {"query": "ask: ", "document": "tell: "})
    found, plain = make_embedder(str(folder), threads=2), make_embedder("minilm", threads=2)
    asked, told = found.encode_queries(TEXTS[:2]), found.encode_passages(TEXTS[:2])
    assert ((asked * plain.encode_queries([f"ask: {text}" for text in TEXTS[:2]])).sum(axis=1) > 0.9999).all()
    assert ((told * plain.encode_queries([f"tell: {text}" for text in TEXTS[:2]])).sum(axis=1) > 0.9999).all()
    assert len(list((tmp_path / "cache").glob("ragline/*/model.onnx"))) == 1
    # prefixes of the settings stand over the model's own, and make vectors of another kind
    other = make_embedder(str(folder), threads=2, prefixes=Prefixes("", ""))
    assert (other.encode_queries(TEXTS[:1]) @ plain.encode_queries(TEXTS[:1]).T).item() > 0.9999
    assert found.name.startswith("mine@")
    assert other.name != found.name


@pytest.mark.parametrize(
    ("model", "prompts", "given", "expected"),
    [
        ("intfloat/multilingual-e5-small", {}, Prefixes(), ("query: ", "passage: ")),
        ("/models/ru_e5.v2", {"query": "q: "}, Prefixes(), ("q: ", "")),
        ("intfloat/e5-base", {}, Prefixes("", None), ("", "passage: ")),
        ("some/price5-model", {}, Prefixes(), ("", "")),
    ],
)
def test_prefixes(model: str, prompts: dict[str, str], given: Prefixes, expected: tuple[str, str]) -> None:
    assert prefixes_of(model, {"query": "", "passage": "", **prompts}, given) == expected


def test_a_model_that_is_nowhere_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no folder"):
        make_embedder(str(tmp_path / "nothing"))
    with pytest.raises(ConfigurationError, match="holds no sentence-transformers model"):
        make_embedder(str(tmp_path))


def test_cores_are_those_of_the_container(tmp_path: Path) -> None:
    for content, expected in (("150000 100000", 2), ("max 100000", None), ("", None)):
        (tmp_path / "cpu.max").write_text(content)
        assert quota(tmp_path / "cpu.max") == expected
    assert available_cores() >= 1


def test_a_model_that_spells_russian_is_told_from_one_that_reads_it(tmp_path: Path) -> None:
    russian = ["Сколько времени занимает доставка?", "Как вернуть товар?", "Какие способы оплаты вы принимаете?"]
    assert cyrillic_share(russian) == 1.0
    assert cyrillic_share([*russian, *["How long does delivery take, and is it free of charge?"] * 5]) < MOSTLY
    spelt = pieces_per_word("minilm", russian)
    assert spelt is not None
    assert READABLE < spelt < 8
    words = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(["[UNK]", "как", "товар"])}, unk_token="[UNK]")
    )
    words.save(str(tmp_path / "tokenizer.json"))
    assert pieces_per_word(str(tmp_path), russian) == 1.0
    assert pieces_per_word("litellm:openai/text-embedding-3-small", russian) is None
