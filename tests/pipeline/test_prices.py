"""What a call may cost, and what it did cost."""

from decimal import Decimal
from typing import Any

import pytest

from pipeline.calls import _used, _used_listening
from pipeline.llm import listed_price, load_litellm
from pipeline.prices import LEAST, PriceBook
from pipeline.routes import Deployment
from pipeline.spending import Quote, Used
from ragline.errors import ConfigurationError
from ragline.settings import LlmSettings, Settings, load_settings
from ragline.spending_settings import Price

PRICES = {"openai/own": {"input": 2, "output": "8.5", "cached": 1, "audio_minute": "0.6", "image": "0.01"}}


def book(listed: Price | None = None, **settings: Any) -> PriceBook:
    return PriceBook(LlmSettings.model_validate(settings), lambda model: listed)


def test_the_settings_price_wins_and_is_exact() -> None:
    used = Used(tokens_in=1000, tokens_out=10, tokens_cached=400, audio_seconds=90, images=2, cost=Decimal("9"))
    charge = book(prices=PRICES).charge("openai/own", used)
    exact = Decimal("0.0012") + Decimal("0.0004") + Decimal("0.000085") + Decimal("0.9") + Decimal("0.02")
    assert (charge.cost, charge.counted, charge.source) == (exact, exact, "settings")


def test_litellms_price_is_taken_in_the_currency_of_the_ledger() -> None:
    used = Used(cost=Decimal("0.0005"), price_source="litellm 1")
    charge = book(currency="RUB", usd_rate="80.5").charge("openai/listed", used)
    assert (charge.cost, charge.source) == (Decimal("0.04025"), "litellm 1")


def test_a_model_without_a_price_is_unpriced_and_counted_at_the_worst_case() -> None:
    worst = {"input": 10, "output": 100}
    charge = book(worst_case_price=worst).charge("openai/in-house", Used(1000, 100, cost=None))
    assert (charge.cost, charge.counted, charge.source) == (None, Decimal("0.02"), None)


def test_the_most_is_reckoned_by_the_price_that_will_hold() -> None:
    quote = Quote("openai/own", "answer", "text", 1000, 500)
    assert book(prices=PRICES).most(quote) == Decimal("0.00625")
    listed = Price(input=Decimal(1), output=Decimal(2))
    other = Quote("openai/listed", "answer", "text", 1000, 500)
    assert book(listed).most(other) == Decimal("0.002")
    assert book(worst_case_price={"input": 10, "output": 100}).most(other) == Decimal("0.06")
    assert book(listed, currency="RUB", usd_rate=80).most(other) == Decimal("0.16")


def test_a_free_model_is_free_and_a_length_nobody_knows_is_not() -> None:
    quote = Quote("ollama/llama3", "transcribe", "voice")
    assert book(Price()).most(quote) == 0
    assert book(Price(audio_minute=Decimal(1))).most(quote) > 0
    sound = Quote("x/listens", "transcribe", "voice", audio_seconds=60)
    assert book(Price(input=Decimal(1)), worst_case_price={"audio_minute": "0.3"}).most(sound) == Decimal("0.3")


def test_litellms_list_is_read_without_a_call() -> None:
    found = listed_price("openai/gpt-4.1-mini")
    assert found is not None
    assert (found.input, found.output, found.cached) == (Decimal("0.4"), Decimal("1.6"), Decimal("0.1"))
    heard = listed_price("openai/whisper-1")
    assert heard is not None
    assert heard.audio_minute == Decimal("0.006")
    assert listed_price("openai/in-house-7b") is None


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"RAGLINE__LLM__CURRENCY": "RUB"}, "usd_rate is missing"),
        ({"RAGLINE__BUDGET__TIME_ZONE": "Mars"}, "Europe/Moscow"),
        ({"RAGLINE__BUDGET__SENDER__DYA": "1"}, "did you mean 'day'"),
        ({"RAGLINE__LLM__PRICES": "{openai/x: {inptu: 1}}"}, "did you mean 'input'"),
        ({"RAGLINE__LLM__PRICES": "{openai/x: {input: 1, currency: EUR}}"}, "give it in USD or in llm.currency"),
    ],
)
def test_a_wrong_setting_says_what_to_do(environment: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load_settings(environment)


def test_budgets_come_from_the_environment_too() -> None:
    settings: Settings = load_settings({"RAGLINE__BUDGET__DAY": "5.5", "RAGLINE__BUDGET__SENDER__MONTH": "0.1"})
    assert (settings.budget.day, settings.budget.sender.month) == (Decimal("5.5"), Decimal("0.1"))


@pytest.mark.parametrize(
    "model",
    [
        "dashscope/qwen-flash",  # by tiers
        "fireworks_ai/accounts/fireworks/models/minimax-m2p7",  # of the priority tier alone
        "medlm-large",  # by characters
        "dashscope/qwen3-30b-a3b",  # not at all
        "bedrock/us-east-1/6-month-commitment/anthropic.claude-v1",  # by the hour that is rented
    ],
)
def test_what_the_list_does_not_price_by_tokens_is_never_free(model: str) -> None:
    litellm = load_litellm()
    used = _used(litellm, Deployment(model), litellm.Usage(1000, 10, 1010), [], "x")
    price = listed_price(model)
    assert used.cost != 0
    assert price is None or not price.free
    most = PriceBook(LlmSettings(), listed_price).most(Quote(model, "answer", "text", 1000, 10))
    assert most >= (used.cost or LEAST)


def test_a_model_that_is_listed_as_free_is_free() -> None:
    litellm = load_litellm()
    used = _used(litellm, Deployment("gemini/gemma-3-27b-it"), litellm.Usage(1000, 10, 1010), [], "x")
    price = listed_price("gemini/gemma-3-27b-it")
    assert (used.cost, price and price.free) == (0, True)


@pytest.mark.parametrize(
    ("model", "usage", "cost"),
    [
        ("openai/whisper-1", {"type": "duration", "seconds": 30}, Decimal("0.003")),
        ("openai/whisper-1", {"input_tokens": 300, "output_tokens": 20}, Decimal("0.001")),  # of ten seconds
        ("openai/whisper-1", None, Decimal("0.001")),
        ("azure/gpt-4o-mini-transcribe", None, None),  # paid by tokens that nobody told
        (
            "azure/gpt-4o-mini-transcribe",
            {
                "input_tokens": 1000,
                "output_tokens": 100,
                "input_token_details": {"audio_tokens": 900, "text_tokens": 100},
            },
            Decimal("0.003325"),  # sound 3, words 1.25, of a million
        ),
    ],
)  # fmt: skip
def test_sound_is_paid_by_what_its_model_is_paid_by(model: str, usage: Any, cost: Decimal | None) -> None:
    assert _used_listening(load_litellm(), Deployment(model), usage, 10.0).cost == cost


def test_what_is_read_from_a_cache_is_cheaper_and_what_is_written_into_it_dearer() -> None:
    litellm = load_litellm()
    usage = litellm.Usage(1000, 10, 1010, cache_read_input_tokens=300, cache_creation_input_tokens=500)
    used = _used(litellm, Deployment("anthropic/claude-haiku-4-5"), usage, [], "x")
    assert (used.tokens_in, used.tokens_cached, used.tokens_cache_write) == (1000, 300, 500)
    assert used.cost == Decimal("0.000905")  # 200 at 1, 300 at 0.1, 500 at 1.25, 10 at 5
    own = {"input": 1, "output": 5, "cached": "0.1", "cache_write": "1.25"}
    priced = book(prices={"claude-haiku-4-5": own})
    assert priced.charge("anthropic/claude-haiku-4-5", used).cost == used.cost, "a price needs no provider in its name"
    assert priced.most(Quote("anthropic/claude-haiku-4-5", "answer", "text", 1000, 10)) == Decimal("0.0013")
    assert priced.charge("anthropic/claude-haiku-4-5", Used(tokens_in=200, tokens_cached=300)).cost == Decimal(
        "0.00003"
    )


def test_a_dearer_tier_of_service_is_billed_as_such() -> None:
    litellm = load_litellm()
    usage = litellm.Usage(1000, 10, 1010)
    plain, priority = (
        _used(litellm, Deployment("openai/gpt-4.1-mini", extra=extra), usage, [], "x").cost
        for extra in ({}, {"service_tier": "priority"})
    )
    assert (plain, priority) == (Decimal("0.000416"), Decimal("0.000728"))
