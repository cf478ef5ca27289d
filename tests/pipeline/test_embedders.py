"""Remote embedding models through LiteLLM, against a server that speaks OpenAI's API."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from pipeline.embedders import BATCH, make_embedder
from pipeline.errors import ProviderUnavailable
from ragline.errors import ConfigurationError
from ragline.settings import Settings
from storage.embedder import make_embedder as make_local
from tests.support import faults
from tests.support.fake_openai import API_KEY, FakeOpenAI

MODEL = "litellm:openai/text-embedding-3-small"


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    with FakeOpenAI(dimensions=64) as server:
        monkeypatch.setenv("OPENAI_API_KEY", API_KEY)
        monkeypatch.setenv("OPENAI_API_BASE", server.api_base)
        yield server


def settings(**knowledge: object) -> Settings:
    return Settings.model_validate(
        {"knowledge": {"embedder": MODEL, **knowledge}, "llm": {"timeout": 10, "cooldown": 0}}
    )


def test_texts_become_vectors_in_order_and_batches(provider: FakeOpenAI) -> None:
    embedder = make_embedder(settings(passage_prefix="passage: "))
    assert embedder.dimensions == 64
    texts = [f"question {i}" for i in range(BATCH + 5)]
    provider.reset()
    vectors = embedder.encode_passages(texts)
    assert vectors.shape == (BATCH + 5, 64)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    sent = [served.body["input"] for served in provider.requests]
    assert [len(part) for part in sent] == [BATCH, 5]
    assert sent[0][0] == "passage: question 0"
    assert (vectors[-1] @ embedder.encode_queries(["passage: " + texts[-1]])[0]) > 0.999
    assert embedder.name != make_embedder(settings()).name, "vectors of another prefix are not comparable"


def test_errors_say_whether_to_try_again(provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = make_embedder(settings())
    provider.faults.add(faults.status(503), "embeddings", times=3)  # the client tries twice more by itself
    with pytest.raises(ProviderUnavailable):
        embedder.encode_queries(["x"])
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        embedder.encode_queries(["x"])


def test_storage_alone_cannot_reach_out() -> None:
    with pytest.raises(ConfigurationError, match="cannot be used here"):
        make_local(MODEL)
