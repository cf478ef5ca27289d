"""Two hundred messages with personal data, answered by a provider on a real socket: what it saw, what was logged."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator

import pytest

from pipeline.embedders import make_embedder
from pipeline.llm import make_language_model
from pipeline.masking import masked
from pipeline.masking.spans import digits_of
from ragline.logs import configure_logging, get_logger
from ragline.settings import Settings
from tests.support import faults
from tests.support.fake_openai import Ask, FakeOpenAI
from tests.support.personal_data import Message, messages

PASSAGES = '<passages>\n<passage number="1">\nCall 8 800 555-35-35, we deliver daily.\n</passage>\n</passages>'
#: Fixed, so that a failure comes again. The forms of these messages are those the recognisers were written for; what is
#: found of forms nobody had in mind is measured on messages written by hand, see docs/privacy.md.
SEED = 2026


def echo(ask: Ask) -> str:
    """The provider repeats all that the customer said, as it saw it."""
    said = re.search(r"<customer\b[^>]*>\n(.*)\n</customer>", ask.question, re.DOTALL)
    return f"You wrote: {said.group(1) if said else ''} [1]"


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    with FakeOpenAI(answer=echo) as provider:
        monkeypatch.setenv("OPENAI_API_KEY", provider.api_key)
        monkeypatch.setenv("OPENAI_API_BASE", provider.api_base)
        yield provider


def settings(**llm: object) -> Settings:
    return Settings.model_validate(
        {"privacy": {"masking": "on"}, "llm": {"routes": {"text": ["openai/gpt-4.1-mini"]}, **llm}}
    )


def is_in(value: str, text: str) -> bool:
    """Whether a text holds a value, however its digits are grouped."""
    digits = digits_of(value)
    return value in text or (len(digits) > 8 and digits in re.sub(r"(?<=\d)[\s().\-]+(?=\d)", "", text))


def test_no_identifier_reaches_the_provider_or_the_log_and_each_answer_holds_what_it_should(
    provider: FakeOpenAI,
) -> None:
    out = io.StringIO()
    configure_logging("DEBUG", "json", out)
    logging.getLogger("openai").setLevel("DEBUG")  # a vendor's own lines hold the whole request
    logging.getLogger("httpx").setLevel("DEBUG")
    own = settings(max_retries=1)
    model = make_language_model(own)
    assert model is not None
    provider.faults.add(faults.status(500), "chat")
    asked = messages(SEED, 200)
    earlier: Message | None = None
    assert len({kind for message in asked for kind, _ in message.identifiers}) >= 15
    try:
        for message in asked:
            before = f"<history>\ncustomer: {earlier.text}\n</history>\n" if earlier else ""
            asking = f"{PASSAGES}\n{before}<customer>\n{message.text}\n</customer>"
            rules = {"role": "system", "content": "You answer customers."}
            answer = masked(model, own).complete([rules, {"role": "user", "content": asking}], max_tokens=300)
            assert answer.text == f"You wrote: {message.text} [1]", "marks come back as what they stand for"
            get_logger("vendor").warning("request_failed", error=f"cannot parse {provider.requests[-1].body}")
            earlier = message
    finally:
        logging.getLogger("openai").setLevel("WARNING")
        logging.getLogger("httpx").setLevel("WARNING")
    bodies = [str(served.body) for served in provider.requests]
    assert len(bodies) >= len(asked)
    written = out.getvalue()
    assert "model_unavailable" in written
    for number, message in enumerate(asked):
        seen = bodies[-len(asked) + number]
        for kind, value in message.identifiers:
            assert not is_in(value, seen), (kind, value)
            assert not is_in(value, written), (kind, value)
        for value in message.kept:
            assert value in seen, "what is no personal data is shown to the model"
    assert all("8 800 555-35-35" in body for body in bodies)


def test_a_provider_s_embedder_is_asked_without_personal_data(provider: FakeOpenAI) -> None:
    embedder = make_embedder(settings(), "litellm:openai/text-embedding-3-small")
    embedder.encode_queries(["заказ 123456789012, мой телефон 8 916 123-45-67", "и почта a@mail.ru"])
    embedder.encode_passages(["Call us: 8 800 555-35-35"])
    queries, passages = (served.body["input"] for served in provider.requests[-2:])
    assert queries == ["заказ 123456789012, мой телефон [PHONE]", "и почта [EMAIL]"]
    assert passages == ["Call us: 8 800 555-35-35"]


def test_where_every_model_is_one_s_own_nothing_is_masked(provider: FakeOpenAI) -> None:
    own = Settings.model_validate({"llm": {"routes": {"text": ["openai/gpt-4.1-mini"], "voice": []}}})
    model = make_language_model(own)
    assert model is not None
    assert masked(model, own) is model
    elsewhere = own.model_copy(update={"privacy": settings().privacy})
    assert masked(model, elsewhere) is not model
