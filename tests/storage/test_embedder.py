"""The packaged embedder gives the vectors of the model it was exported from."""

import subprocess
import sys

import numpy as np

from storage.embedder import make_embedder
from storage.embedder.minilm import model_folder

TEXTS = ["How long does delivery take?", "Сколько времени занимает доставка?", "x", "", "word " * 600]


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
